"""What becomes of tests that the controller asks for: whether and when one begins, and who hears what came of it.

One at a time, and each id once: what was asked twice is answered twice. A test waits until the cards may draw what it needs, and is not begun where somebody
computes on them; a job that comes while it runs goes first. Slowness under limits that are lower than that is no failure of the node.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from gpuwarden.agent.events import AnswerProbe, ProbeAsked, ProbeEnded, RunProbe, StopProbe
from gpuwarden.agent.probed import Offered, Outcome, Result, impossible
from gpuwarden.agent.reading import GpuProcess
from gpuwarden.core.machine import Level, Say
from gpuwarden.core.version import PROBES_SINCE
from gpuwarden.proto.lease_pb2 import PowerReport

LIMITS_WAIT_S: Final = 120.0  # for the controller to grant more
TOLD_AGAIN_S: Final = 1800.0  # as long as a controller waits for an answer
KEPT: Final = 16
SAME_W: Final = 1.0

Action = RunProbe | StopProbe | AnswerProbe | Say


@dataclass(slots=True)
class _Under:
    """Way, since `since_s`. `short`: power was, at some time since it began. `stopped`: why."""

    asked: ProbeAsked
    offered: Offered
    since_s: float
    begun: bool = False
    short: bool = False
    stopped: str = ""


class Asked:
    """Of one agent, which offers these."""

    def __init__(self, probes: Iterable[Offered]) -> None:
        self._probes = {probe.name: probe for probe in probes}
        self._under: _Under | None = None
        self._answers: dict[str, tuple[float, AnswerProbe]] = {}  # by id, oldest first, and when
        self._processes: dict[str, tuple[GpuProcess, ...]] = {}  # by collector
        self._report: PowerReport | None = None
        self._version = 0

    def asked(self, now_s: float, event: ProbeAsked) -> Iterator[Action]:
        if event.id in self._answers:
            yield from self._told(self._answers[event.id][1])
        elif self._under is None:
            yield from self._taken_up(now_s, event)
        elif self._under.asked.id != event.id:
            yield from self._answered(now_s, event, impossible(f"test {self._under.asked.id} is under way"))

    def tick(self, now_s: float) -> Iterator[Action]:
        under = self._under
        if under is None or under.stopped:
            return
        if not under.begun:
            yield from self._begun(now_s, under)
        elif not under.offered.harmless and (job := next((one for one in self._computing if one.job_id), None)) is not None:
            under.stopped = f"{_named(job)}: it was ended"  # its own processes are of no job
            yield StopProbe(under.asked.id)

    def ended(self, now_s: float, event: ProbeEnded) -> Iterator[Action]:
        under, self._under = self._under, None
        assert under is not None and under.asked.id == event.id, "only what was begun ends"
        result = event.result
        if under.stopped:
            result = impossible(under.stopped)
        elif result.slow and under.short:
            result = replace(result, outcome=Outcome.IMPOSSIBLE, said=f"{result.said}, but power was short: {self._limits()}")
        yield from self._answered(now_s, under.asked, result)

    def link(self, now_s: float, version: int) -> Iterator[Action]:
        """A session in this version, 0 for none. Nobody may have heard the last answer: the session broke, or the controller is another one."""
        self._version = version
        for at_s, answer in list(self._answers.values())[-1:]:
            if now_s - at_s < TOLD_AGAIN_S:
                yield from self._told(answer)

    def computing(self, collector: str, processes: tuple[GpuProcess, ...]) -> None:
        self._processes[collector] = processes

    def limited(self, report: PowerReport) -> None:
        self._report = report
        if self._under is not None and self._under.begun and self._short(self._under.offered):
            self._under.short = True

    def _taken_up(self, now_s: float, event: ProbeAsked) -> Iterator[Action]:
        offered = self._probes.get(event.name)
        if offered is None:
            said = f"this agent offers no test {event.name[:64]!r}, it offers {', '.join(self._probes) or 'none'}"
            yield from self._answered(now_s, event, impossible(said))
            return
        self._under = _Under(event, offered, now_s)
        yield from self._begun(now_s, self._under)

    def _begun(self, now_s: float, under: _Under) -> Iterator[Action]:
        """Or given up, or waited on."""
        if (busy := next(self._computing, None)) is not None and not under.offered.harmless:
            yield from self._given_up(now_s, under, _named(busy))
        elif not (under.offered.needs_w and self._lower(under.offered)):
            under.begun, under.short = True, self._short(under.offered)
            yield Say(f"test {under.offered.name} begins, asked for by the controller ({under.asked.id})")
            yield RunProbe(under.asked.id, under.offered.name)
        elif now_s - under.since_s >= LIMITS_WAIT_S:
            yield from self._given_up(now_s, under, f"it needs {under.offered.needs_w:g} W a card, and {LIMITS_WAIT_S:g} s brought no more: {self._limits()}")

    def _given_up(self, now_s: float, under: _Under, why: str) -> Iterator[Action]:
        self._under = None
        yield from self._answered(now_s, under.asked, impossible(why))

    def _answered(self, now_s: float, event: ProbeAsked, result: Result) -> Iterator[Action]:
        answer = AnswerProbe(event.id, event.name, result)
        self._answers[event.id] = now_s, answer
        while len(self._answers) > KEPT:
            del self._answers[next(iter(self._answers))]
        level = Level.WARNING if result.outcome is Outcome.FAILED else Level.INFO
        yield Say(f"test {event.name[:64]!r} ({event.id[:64]}): {result.outcome.name.lower()}: {result.said}", level)
        yield from self._told(answer)

    def _told(self, answer: AnswerProbe) -> Iterator[Action]:
        if self._version >= PROBES_SINCE:
            yield answer

    @property
    def _computing(self) -> Iterator[GpuProcess]:
        return (one for processes in self._processes.values() for one in processes)

    def _short(self, offered: Offered) -> bool:
        """Whether a card may not work as the test needs it."""
        return self._lower(offered) or (self._report is not None and any(clock_hz > 0 for clock_hz in self._report.clocks_hz))

    def _lower(self, offered: Offered) -> bool:
        """Whether a card may draw less than the test needs; where it declares no need, less than by default. Where nothing was heard, nobody limits."""
        cards = self._report.cards if self._report is not None else ()
        return any(card.enforced_w < (offered.needs_w or card.default_w) - SAME_W for card in cards)

    def _limits(self) -> str:
        """The lowest, in words."""
        cards = self._report.cards if self._report is not None else ()
        low = min(cards, key=lambda card: card.enforced_w, default=None)
        return f"{low.uuid} is limited to {low.enforced_w:g} W" if low is not None else "its limits are not known"


def _named(process: GpuProcess) -> str:
    of = f" of job {process.job_id}" if process.job_id else ""
    return f"process {process.pid}{of} computes on {process.gpu_id}"
