"""A page whose snapshots play on, as a controller's would."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from web.snapshots import Scene, snapshot

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web.serve import Door, Page
from gpuwarden.core.address import Address

HERE = Address("127.0.0.1", 0)


@contextmanager
def serving(board: Board, listen: Address = HERE, door: Door | None = None) -> Iterator[Page]:
    page = Page(listen, board, door)
    page.start()
    try:
        yield page
    finally:
        page.close()


@contextmanager
def playing(
    scene: Scene, period_s: float = 0.25, step_s: float = 1.0, listen: Address = HERE, door: Door | None = None
) -> Iterator[Page]:
    """Every `period_s` the scene stands `step_s` later."""
    board, over = Board(), threading.Event()

    def play() -> None:
        second = 0.0
        while not over.wait(period_s):
            second += step_s
            board.publish(snapshot(scene, second))

    board.publish(snapshot(scene))
    player = threading.Thread(target=play, daemon=True)
    player.start()
    try:
        with serving(board, listen, door) as page:
            yield page
    finally:
        over.set()
        player.join()
