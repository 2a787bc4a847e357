"""Runs the isolating machine: a loop of its own, its edges, and what it orders. Whatever becomes of it, power goes on.

Time is unix time that never goes back: it begins where the wall clock, or the newest line of the ledger, stood at the start, and runs with the
monotonic clock.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, assert_never

from prometheus_client import Counter

from gpuwarden.controller.caps import Caps
from gpuwarden.controller.events import Refuse, ToldOfIsolation
from gpuwarden.controller.findings import Connect, Findings, Through
from gpuwarden.controller.isolation.config import IsolationConfig
from gpuwarden.controller.isolation.desk import Action, Desk, Event, Shown, Written
from gpuwarden.controller.isolation.door import record_of
from gpuwarden.controller.isolation.events import (
    Answered,
    AskCheckpoint,
    Drain,
    EndPower,
    Exclude,
    Line,
    Outcome,
    Performed,
    Probe,
    Requeue,
    Resume,
    SchedulerLost,
    Started,
    Tell,
    Tick,
    TruthSeen,
)
from gpuwarden.controller.isolation.records import Record
from gpuwarden.controller.job_words import JobWords
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.lines import SHOWN
from gpuwarden.controller.probing import AskPower, Probing
from gpuwarden.controller.progress import Progress
from gpuwarden.controller.schedulers import KINDS
from gpuwarden.controller.schedulers.scheduler import Truth
from gpuwarden.controller.scheduling import Scheduling
from gpuwarden.controller.snapshot import Board
from gpuwarden.core.eventlog import EventLog
from gpuwarden.core.log import say
from gpuwarden.core.machine import Say
from gpuwarden.core.service import Inbox, Ticker, Unperformed, count_failures_of, serve
from gpuwarden.proto import control_pb2 as pb

INBOX_LIMIT: Final = 10_000
TICK_S: Final = 1.0
HUNG_S: Final = 60.0
GROUP: Final = "gpuwarden-controller-isolation"
_CLOSE_S: Final = 2.0
_AGAIN_S: Final = 0.05

RECORDS: Final = Counter("gpuwarden_isolation_findings_total", "Findings that the isolating machine is through with")

_log = logging.getLogger("gpuwarden.isolation")


@dataclass(frozen=True, slots=True)
class Outward:
    """Where its words go: `tell` to people, and answers whether there was room; `answer` to whoever asked; `end` where the ledger cannot be written; `probe` to a
    node's agent, for a test, and `power` to who grants it."""

    tell: Callable[[ToldOfIsolation], bool]
    answer: Callable[[int, bytes | Refuse], None]
    end: Callable[[str], None]
    probe: Callable[[str, str, str], None]
    power: AskPower


class Isolating:
    """From `start` to `close`. `nodes` are ours. `offer` may be called from any thread, as `show` may."""

    def __init__(
        self, config: IsolationConfig, nodes: Sequence[str], ledger: Ledger, board: Board, outward: Outward, log: EventLog | None = None
    ) -> None:
        count_failures_of(Action)
        self._config, self._nodes, self._ledger, self._board, self._outward = config, nodes, ledger, board, outward
        self._inbox: Inbox[Event] = Inbox(INBOX_LIMIT)
        self._through: Through[Event, Action] = Through(Desk(config))
        self._caps = Caps(self.offer)
        self._probing = Probing(outward.probe, outward.power, self.offer)
        self._newest: tuple[pb.Action, ...] = ()
        self._picture = pb.Isolation(scheduler=config.scheduler, scheduler_lost="it has not answered yet")
        self._truth: Truth | None = None
        self._closing, self._edges_closed = threading.Event(), threading.Event()
        self._stopped, self._hung, self._log = "", False, log
        self._clock = _clock(ledger)
        self._opened = ExitStack()

    def offer(self, event: Event) -> bool:
        """False if there is no room, or nothing is decided any more."""
        return not self._stopped and self._inbox.offer(event)

    def start(self, connect_bus: Connect | None) -> None:
        """Without a bus there are people's words only. Records that cannot be read stop it before it has begun: it might do twice what was done."""
        try:
            records = tuple(map(record_of, self._ledger.isolation_records().values()))
        except ValueError as why:
            self._stop(f"what the ledger keeps of it cannot be read: {why}")
            return
        with self._opened as opened:  # closed in reverse: first who puts events in, then the loop, then what it acts on
            self._open(records, connect_bus, opened)
            self._opened = opened.pop_all()

    def _open(self, records: tuple[Record, ...], connect_bus: Connect | None, opened: ExitStack) -> None:
        self._inbox.put(Started(records))
        self._scheduling = Scheduling(KINDS[self._config.scheduler](self._nodes, self._config.kubeconfig), self._scheduled, self._clock)
        loop = threading.Thread(target=self._run, name="isolation", daemon=True)
        loop.start()
        opened.callback(loop.join, _CLOSE_S)
        opened.callback(self._edges_closed.set)
        opened.callback(self._scheduling.close)
        if self._config.checkpoints:
            opened.callback(Progress(self._config.checkpoints, lambda: self._truth, self.offer).close)
        if connect_bus is not None:
            opened.callback(JobWords(connect_bus, lambda: self._truth, self.offer, self._closing).join)
            opened.callback(Findings(connect_bus, self.offer, self._through, self._closing, GROUP, RECORDS).join)
        opened.callback(Ticker(TICK_S, self._tick, self._inbox, time.monotonic).close)

    def close(self) -> None:
        """A loop that hangs is not waited for."""
        self._closing.set()
        self._opened.close()

    def show(self, snapshot: pb.WatchResponse) -> None:
        """To one that nobody has seen yet: how isolation stands, and its ledger lines among the others, newest first. Called once a second, it also sees a hang."""
        silent_s = self._clock() - self._picture.unix_ns / 1e9 if self._picture.unix_ns else 0.0
        if (silent_s > HUNG_S) is not self._hung:
            self._hung = silent_s > HUNG_S
            self._outward.tell(ToldOfIsolation("isolation/hung", self._hung, "critical", "isolation hangs", f"it has decided nothing for {HUNG_S:.0f} s", ""))
        snapshot.isolation.CopyFrom(self._picture)
        snapshot.isolation.stopped = self._stopped or (f"it has decided nothing for {silent_s:.0f} s" if self._hung else "")
        lines = sorted((*snapshot.actions, *self._newest), key=lambda line: -line.unix_ns)[:SHOWN]
        del snapshot.actions[:]
        snapshot.actions.extend(lines)

    def _tick(self) -> Tick:
        if (picture := self._board.newest()) is not None:
            self._caps.look(picture)
        return Tick()

    def _scheduled(self, event: TruthSeen | SchedulerLost | Performed) -> bool:
        if isinstance(event, TruthSeen):
            self._truth = event.truth
        return self.offer(event)

    def _run(self) -> None:
        try:
            serve(self._through, self._inbox, self._perform, self._clock, self._edges_closed, self._log)
        finally:
            if not self._edges_closed.is_set():
                self._stop("its thread has ended")

    def _stop(self, why: str) -> None:
        """Power goes on; a person has to know."""
        self._stopped = why
        _log.critical("no node is isolated any more, and none given back: %s", why)
        text = f"{why}. Power is held all the same. Look at the controller's log, then restart it."
        self._tell(ToldOfIsolation("isolation/stopped", True, "critical", "isolation has stopped", text, ""))

    def _perform(self, action: Action) -> None:
        """Nothing is done any more once the ledger could not be written: what follows would rest on it."""
        if self._stopped:
            raise Unperformed
        match action:
            case Written():
                self._write(action)
            case Tell():
                self._tell(ToldOfIsolation(action.key, action.firing, action.severity, action.title, action.text, action.node))
            case Answered():
                self._answer(action)
            case EndPower():
                self._probing.end_power(action.key)
            case Shown():
                self._picture = action.picture
            case Say():
                say(action)
            case _:
                self._do(action)

    def _do(self, act: Drain | Resume | Requeue | Exclude | AskCheckpoint | Probe) -> None:
        match act:
            case Drain():
                self._scheduling.order(act.key, lambda scheduler: scheduler.drain(act.node, act.reason))
            case Resume():
                self._scheduling.order(act.key, lambda scheduler: scheduler.resume(act.node, act.reason))
            case Requeue():
                self._scheduling.order(act.key, lambda scheduler: scheduler.requeue(act.job, act.restarts_seen))
            case Exclude():
                self._scheduling.order(act.key, lambda scheduler: scheduler.exclude(act.job, act.nodes))
            case AskCheckpoint():
                self.offer(Performed(act.key, Outcome.REFUSED, "no job can be asked to checkpoint here"))
            case Probe():
                self._probing.order(act)
            case _:
                assert_never(act)

    def _write(self, written: Written) -> None:
        now_ns = round(self._clock() * 1e9)
        lines = [_line(line) for line in written.lines]
        try:
            self._ledger.append_and_remember([line.SerializeToString() for line in lines], dict(written.records), now_ns)
        except sqlite3.Error as why:
            self._stopped = f"the ledger cannot be written: {why}"
            self._outward.end(self._stopped)
            raise
        for line in lines:
            line.unix_ns = now_ns
        self._newest = (*reversed(lines), *self._newest)[:SHOWN]

    def _tell(self, told: ToldOfIsolation) -> None:
        while not self._outward.tell(told) and not self._closing.wait(_AGAIN_S):
            pass

    def _answer(self, answered: Answered) -> None:
        """A refusal begins with the field that it is about."""
        field = answered.sentence.partition(":")[0]
        said = answered.sentence.encode() if answered.ok else Refuse(answered.code, answered.reason, field, answered.sentence)
        self._outward.answer(answered.token, said)


def _line(line: Line) -> pb.Action:
    return pb.Action(kind=line.kind, subject=line.subject, performed=line.performed, reason=line.reason, actor=line.actor)


def _clock(ledger: Ledger) -> Callable[[], float]:
    newest = ledger.newest(1)
    began_s = max(time.time(), newest[0].unix_ns / 1e9 if newest else 0.0)
    offset_s = began_s - time.monotonic()
    return lambda: time.monotonic() + offset_s
