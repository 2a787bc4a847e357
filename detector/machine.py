"""The detector's decisions: telemetry in; findings, dead letters and offsets that are done with out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, assert_never

from gpuwarden.core.machine import Level, Say
from gpuwarden.detector import presence
from gpuwarden.detector.adoption import Adopted, job_owner, node_owner
from gpuwarden.detector.comm.watch import KINDS as COMM_KINDS
from gpuwarden.detector.comm.watch import CommWatch
from gpuwarden.detector.events import (
    Action,
    Chosen,
    Commit,
    DeadLetter,
    Event,
    HandOver,
    Leaving,
    Moved,
    Polled,
    Raw,
    Tick,
)
from gpuwarden.detector.findings import Findings
from gpuwarden.detector.happenings import Happenings
from gpuwarden.detector.health.learned import Learned
from gpuwarden.detector.health.live import Health
from gpuwarden.detector.health.room import Room
from gpuwarden.detector.health.summaries import RoomSetup, Summaries
from gpuwarden.detector.node import Node
from gpuwarden.detector.panel import Panel
from gpuwarden.proto import topics
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.decode import MAX_NAME_CHARS, Readings, Refused, Sample, decode_all


@dataclass(frozen=True, slots=True)
class DetectorSetup:
    """`stale_s` without telemetry make a node stale; after `forget_s` it, or a card of it, was taken away by somebody."""

    stale_s: float = 5.0
    forget_s: float = 86_400.0
    max_nodes: int = 20_000
    room: RoomSetup | None = None  # without it nodes are not judged beside each other


_OTHERS: Final = frozenset({topics.COMM, topics.SCORES})  # all else is telemetry
NO_MODELS: Final[Mapping[str, Learned]] = MappingProxyType({})


class Detector:
    """Telemetry is judged once: repeats are passed over, gaps are counted."""

    def __init__(self, setup: DetectorSetup, models: Mapping[str, Learned] = NO_MODELS) -> None:
        """`models` of health, by id: whatever `Chosen` names is among them by then."""
        self._setup, self._models = setup, models
        self._nodes: dict[str, Node] = {}
        self._findings = Findings()
        self._happenings = Happenings(self._findings)
        self._adopted = Adopted(self._findings)
        self._panels = {device: Panel(device, self._findings) for device in Device}
        self.health = Health(self._findings)
        self.comm = CommWatch(self._findings, self._adopted)
        self.room = Room(self._findings, setup.room, setup.max_nodes, self._nodes) if setup.room is not None else None
        self._summaries = Summaries(setup.room, self.room.cards_of) if setup.room is not None and self.room is not None else None
        self.partitions_held = 0
        self.samples_judged = 0
        self.samples_repeated = 0
        self.samples_lost = 0
        self.refused = 0

    @property
    def nodes_known(self) -> int:
        return len(self._nodes)

    @property
    def findings_firing(self) -> int:
        return len(self._findings)

    @property
    def events_left_out(self) -> int:
        return self._happenings.left_out

    def step(self, now_s: float, event: Event) -> list[Action]:
        match event:
            case Polled(records):
                return [*self._polled(now_s, records)]
            case Tick(unix_ns):
                return [*self._tick(now_s, unix_ns)]
            case Chosen():
                return [*self._choose(event)]
            case Leaving():
                return [HandOver()]
            case Moved():
                return [*self._moved(event)]
        assert_never(event)

    def _polled(self, now_s: float, records: Sequence[Raw]) -> Iterator[Action]:
        taken = list[tuple[Node, Sample]]()
        samples = iter(decode_all(raw.payload for raw in records if raw.topic not in _OTHERS))
        for raw in records:
            try:
                if raw.topic == topics.COMM:
                    self.comm.take(now_s, raw)
                elif raw.topic == topics.SCORES:
                    yield from self.room.take(raw) if self.room is not None else ()
                else:
                    taken += self._take(now_s, raw, next(samples))
            except Refused as why:
                self.refused += 1
                yield DeadLetter(raw, str(why))
        for judged in _rounds(taken):
            yield from self._judge(now_s, judged)
        done = {(raw.topic, raw.partition): raw.offset + 1 for raw in records if raw.topic != topics.SCORES}  # scores are read by everybody, from the start
        if done:
            yield Commit(done)

    def _choose(self, chosen: Chosen) -> Iterator[Action]:
        live, shadow = (None if name is None else self._models[name] for name in (chosen.live, chosen.shadow))
        nodes = f" of {len(live.nodes)} nodes" if live else ""
        yield Say(f"health: the live model is {chosen.live or 'none'}{nodes}, in its shadow {chosen.shadow or 'none'}")
        roles = {role: name for role, name in (("live", chosen.live), ("shadow", chosen.shadow)) if name is not None}
        yield from self.health.choose(roles, live, shadow, chosen.unix_ns)

    def _take(self, now_s: float, raw: Raw, sample: Sample | Refused) -> Iterator[tuple[Node, Sample]]:
        """The sample and whose it is; nothing if it was here before."""
        if isinstance(sample, Refused):
            raise sample
        if raw.key != sample.node:
            raise Refused("node", f"is {sample.node!r}, the record's key is {raw.key[:MAX_NAME_CHARS]!r}")
        node = self._node(now_s, sample, raw.partition)
        if node.is_repeat(sample):
            self.samples_repeated += 1
            return
        if node.start not in ("", sample.agent_start):
            for panel in self._panels.values():
                panel.restarted(node)
        self.samples_lost += node.advance(sample)
        yield node, sample

    def _node(self, now_s: float, sample: Sample, partition: int) -> Node:
        node = self._nodes.get(sample.node)
        if node is None:
            if len(self._nodes) >= self._setup.max_nodes:
                raise Refused("node", f"is one more than max_nodes ({self._setup.max_nodes})")
            node = self._nodes[sample.node] = Node(sample.node, partition, now_s)
            for finding in self._adopted.take_up(now_s, node_owner(node.name)):
                self._happenings.adopt(now_s, finding)
                presence.adopt(node, finding)
        return node

    def _judge(self, now_s: float, judged: Sequence[tuple[Node, Sample]]) -> Iterator[Action]:
        """A round: one sample of each node at most."""
        self.samples_judged += len(judged)
        for node, sample in judged:
            node.seen_s = now_s
            yield from presence.spoke(self._findings, node, sample.unix_ns)
            yield from self._happenings.take(now_s, sample)
            yield from presence.gpus(self._findings, node, sample, self._setup.forget_s)
        entries: dict[Device, list[tuple[Node, Sample, Readings]]] = {device: [] for device in Device}
        for node, sample in judged:
            for readings in sample.readings:
                entries[readings.device].append((node, sample, readings))
        for device, panel in self._panels.items():
            yield from panel.judge(entries[device])
        samples = [sample for _, sample in judged]
        yield from self.health.take(samples)
        if self.room is not None and self._summaries is not None:
            for node, sample in judged:
                if not node.joined:
                    node.joined = True
                    yield from self.room.joined(node.name, sample.unix_ns)
            yield from self._summaries.take(samples)

    def _tick(self, now_s: float, unix_ns: int) -> Iterator[Action]:
        yield from self._happenings.tick(now_s, unix_ns)
        yield from self.health.tick(unix_ns)
        yield from self.comm.tick(now_s, unix_ns)
        if self.room is not None and self._summaries is not None:
            self.room.tick(unix_ns)
            yield from self._summaries.tick(unix_ns)
        yield from self._adopted.proven(now_s, unix_ns)
        for node in list(self._nodes.values()):
            silent_s = now_s - node.seen_s
            if silent_s >= self._setup.forget_s:
                yield from self._forget(node, unix_ns)
            elif silent_s >= self._setup.stale_s:
                yield from presence.stale(self._findings, node, silent_s, self._setup.stale_s, unix_ns)

    def _forget(self, node: Node, unix_ns: int) -> Iterator[Action]:
        yield Say(f"{node.name} is forgotten: silent for {self._setup.forget_s:g} s", Level.WARNING)
        yield from self._findings.resolve_all(self._findings.of_node(node.name), unix_ns)
        self._drop(node)

    def _moved(self, moved: Moved) -> Iterator[Action]:
        """What is read by others from now on is theirs: nothing of it is known here any more, and nothing said."""
        held = set(moved.places)
        self.partitions_held = len(held)
        gone = [node for node in self._nodes.values() if (topics.TELEMETRY, node.partition) not in held]
        for node in gone:
            self._findings.let_go([key for key in self._findings.of_node(node.name) if key[2] not in COMM_KINDS])
            self._drop(node)
        jobs = self.comm.let_go({partition for topic, partition in held if topic == topics.COMM})
        self._adopted.renew(moved.firing, {*map(node_owner, self._nodes), *map(job_owner, self.comm.jobs)})
        if gone or jobs:
            yield Say(f"{len(gone)} nodes and {jobs} jobs are another detector's now")

    def _drop(self, node: Node) -> None:
        self._adopted.let_go(node_owner(node.name))
        self._happenings.forget(node.name)
        self.health.forget(node.name)
        if self._summaries is not None:
            self._summaries.forget(node.name)
        for panel in self._panels.values():
            panel.forget(node)
        del self._nodes[node.name]


def _rounds(taken: Sequence[tuple[Node, Sample]]) -> list[list[tuple[Node, Sample]]]:
    """The k-th sample of each node is in the k-th round."""
    rounds, met = list[list[tuple[Node, Sample]]](), dict[str, int]()
    for node, sample in taken:
        k = met[node.name] = met.get(node.name, -1) + 1
        if k == len(rounds):
            rounds.append([])
        rounds[k].append((node, sample))
    return rounds
