"""A limiter that cannot set a limit any more does not tell its service manager that all is well."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpuwarden.agent.limiter import driver
from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.config import LimiterConfig
from gpuwarden.agent.limiter.main import limit
from gpuwarden.agent.limiter.state import Remembered
from gpuwarden.core.notify import Supervisor


class Plant:
    """One card whose session is `broken` in a way that nobody foresaw."""

    driver_loads = 1
    limits_rose = False
    cards = (Card("GPU-0", 700.0, 200.0, 700.0),)

    def __init__(self, breaks: Callable[[], object]) -> None:
        self.broken, self.mended, self._breaks = threading.Event(), threading.Event(), breaks

    def next_power_w(self, interrupt: int) -> tuple[float, ...] | None:
        if select.select([interrupt], [], [], 0.1)[0]:
            return None
        if self.broken.is_set() and not self.mended.is_set():
            self._breaks()
        return (300.0,)

    def limits(self) -> tuple[CardState, ...]:
        return (CardState(700.0, 700.0),)

    def lock_clocks(self, clocks_hz: tuple[float, ...]) -> tuple[str, ...]:
        return ("",)

    def set_limits(self, limits_w: tuple[float, ...]) -> tuple[str, ...]:
        return ("",)

    def close(self) -> None:
        pass


@pytest.fixture
def told(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.setblocking(False)
        yield made


def fed(told: socket.socket, seconds: float) -> int:
    """How often the watchdog was fed in that time."""
    time.sleep(seconds)
    count = 0
    while True:
        try:
            count += told.recv(4096) == b"WATCHDOG=1"
        except BlockingIOError:
            return count


def ends() -> None:
    raise MemoryError


def hangs() -> None:
    """Longer than any deadline allows."""
    time.sleep(3.0)


@pytest.mark.parametrize("breaks", [ends, hangs])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_watchdog_is_fed_only_while_the_thread_that_sets_limits_goes_on(
    breaks: Callable[[], object], told: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "STUCK_S", 0.6)
    plant, stop = Plant(breaks), threading.Event()
    config = LimiterConfig(tmp_path / "key", 200.0, socket=tmp_path / "limiter.sock", state_file=tmp_path / "state")
    supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
    loop = threading.Thread(target=limit, args=(config, bytes(32), Remembered(), plant, stop, None, supervisor))
    loop.start()
    try:
        assert fed(told, 2.0) >= 4
        plant.broken.set()
        fed(told, 1.0)
        assert fed(told, 1.0) == 0
    finally:
        plant.mended.set()
        stop.set()
        loop.join()
