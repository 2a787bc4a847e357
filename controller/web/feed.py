"""What the page shows, looked up twice a second and put into words once for all viewers."""

import json
import time
from typing import Final

import anyio

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web.history import History
from gpuwarden.controller.web.view import view
from gpuwarden.proto.control_pb2 import WatchResponse

PERIOD_S: Final = 0.5
# A controller that has said nothing for so long is not to be taken for a live one.
FRESH_S: Final = 3.0


class Feed:
    """The newest snapshot, how long it has been the newest, and the history. Belongs to the server's event loop."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._newest: WatchResponse | None = None
        self._changed_s = time.monotonic()
        self._text: str | None = None
        self.version = 0
        self.history = History()
        self.closing = anyio.Event()

    @property
    def age_s(self) -> float:
        """Since the newest snapshot was first seen: no wall clock has a say in what is live."""
        return time.monotonic() - self._changed_s

    @property
    def live(self) -> bool:
        return self._newest is not None and self.age_s < FRESH_S

    def look(self) -> None:
        snapshot = self._board.newest()
        if snapshot is None or snapshot is self._newest:
            return
        self._newest, self._changed_s, self._text = snapshot, time.monotonic(), None
        self.version += 1
        self.history.add(snapshot)

    async def follow(self) -> None:
        while not self.closing.is_set():
            self.look()
            await self.pause()

    async def pause(self) -> None:
        """One period, or less when the server closes."""
        with anyio.move_on_after(PERIOD_S):
            await self.closing.wait()

    def text(self) -> str | None:
        """The newest snapshot as JSON, made once however many look on, and only if one does; None before the first."""
        if self._text is None and self._newest is not None:
            self._text = json.dumps(view(self._newest), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return self._text

    def age_text(self) -> str:
        return json.dumps({"age_s": round(self.age_s, 2), "live": self.live, "begun": self._newest is not None})
