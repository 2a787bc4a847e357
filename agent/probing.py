"""Runs the tests that are asked for, one at a time, each in a thread of its own that lives for as long as its child."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from gpuwarden.agent.events import ProbeEnded
from gpuwarden.agent.probe_child import Immortal, Late, run
from gpuwarden.agent.probe_config import ProbeConfig
from gpuwarden.agent.probed import Offered, Outcome, Result, impossible
from gpuwarden.agent.probes import PROBES
from gpuwarden.agent.reading import Unsupported

_CLOSE_S: Final = 5.0


def offered(probes: Iterable[ProbeConfig]) -> tuple[Offered, ...]:
    return tuple(Offered(probe.name, probe.harmless, probe.needs_w, probe.deadline_s) for probe in probes)


class Probing:
    """From construction to `close`. Every order has one ProbeEnded, which `put` gets from the test's thread."""

    def __init__(self, probes: Iterable[ProbeConfig], put: Callable[[ProbeEnded], object]) -> None:
        self._probes, self._put = {probe.name: probe for probe in probes}, put
        self._closed = False
        self._under = ("", threading.Event())  # the id of the newest, and what stops it
        self._thread: threading.Thread | None = None
        self._immortal: Immortal | None = None

    def order(self, id: str, name: str) -> None:
        """Of one that is configured; the one before has ended."""
        self._under = id, threading.Event()
        self._thread = threading.Thread(target=self._run, args=(*self._under, self._probes[name]), name="probe", daemon=True)
        self._thread.start()

    def stop(self, id: str) -> None:
        """One that has ended meanwhile is not asked."""
        under, stop = self._under
        if under == id:
            stop.set()

    def close(self) -> None:
        """A test that runs is killed, and nobody hears of it."""
        self._closed = True
        self._under[1].set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _run(self, id: str, stop: threading.Event, probe: ProbeConfig) -> None:
        result = self._tested(probe, stop)
        if not self._closed:
            self._put(ProbeEnded(id, result))

    def _tested(self, probe: ProbeConfig, stop: threading.Event) -> Result:
        if self._immortal is not None and self._immortal.child.poll() is None:
            return impossible(f"an earlier test is still there: {self._immortal}")
        kind, began_s = PROBES[probe.kind], time.monotonic()
        try:
            result = kind.read(probe, run(kind.argv(probe), probe.deadline_s, stop))
        except Unsupported as why:
            return impossible(str(why))
        except OSError as why:
            return impossible(f"no process is to be had: {why.strerror}")
        except Immortal as why:
            self._immortal = why
            result = Result(Outcome.DEADLINE, f"it was to end after {probe.deadline_s:g} s: {why}")
        except Late:
            result = Result(Outcome.DEADLINE, f"it was ended after {probe.deadline_s:g} s")
        return Result(result.outcome, result.said, result.figures, result.slow, time.monotonic() - began_s)
