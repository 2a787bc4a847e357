"""Judges all devices of one kind: rules and models over the rows of a round, hysteresis over their scores."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gpuwarden.detector.events import PublishFinding
from gpuwarden.detector.findings import Findings
from gpuwarden.detector.fleet import Fleet
from gpuwarden.detector.hysteresis import Hysteresis
from gpuwarden.detector.models import MODELS
from gpuwarden.detector.models.model import Model
from gpuwarden.detector.node import Node, Seats
from gpuwarden.detector.rules import RULES
from gpuwarden.detector.rules.rule import Rule
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.decode import Readings, Sample

DEVICES_PER_NODE = 512  # known at a time; those that are not in the newest sample give way


class Panel:
    """One for each device kind. A round holds at most one sample of a node."""

    def __init__(self, device: Device, findings: Findings) -> None:
        self._findings = findings
        self._fleet = Fleet(device)
        self._rules = [rule for rule in RULES if rule.device is device]
        self._models = [line.build(self._fleet.rows) for line in MODELS if line.device is device]
        self._signals: list[Rule | Model] = [*self._rules, *self._models]
        self._hysteresis = Hysteresis(self._fleet.rows, [signal.patience for signal in self._signals])

    def judge(self, entries: Sequence[tuple[Node, Sample, Readings]]) -> Iterator[PublishFinding]:
        """What begins to fire in this round, and what is over."""
        freed = [key for node, _, readings in entries for key in self._seat(node, readings)]
        if freed:
            yield from self._findings.resolve_all(freed, entries[0][1].unix_ns)
        counts = [len(readings.ids) for _, _, readings in entries]
        if sum(counts) == 0:
            return
        slots = np.concatenate([node.seats[self._fleet.device].slots for node, _, _ in entries])
        members = np.repeat(np.arange(len(entries)), counts)
        unix_ns = [sample.unix_ns for _, sample, _ in entries]
        times_ns = np.array(unix_ns, np.uint64).astype(np.int64)[members]
        view = self._fleet.view(slots, members, times_ns, np.concatenate([readings.values for _, _, readings in entries]))
        yield from self._turn(view, self._scores(view), unix_ns)

    def _scores(self, view: View) -> Values:
        """(rows, signals). What a rule finds wrong is not learnt."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            judged = np.stack([*(rule.score(view) for rule in self._rules)], 1) if self._rules else np.empty((len(view.slots), 0))
            healthy = np.asarray(~(judged > 0).any(1))
            return np.column_stack([judged, *(model.score(view, healthy) for model in self._models)]).astype(np.float32)

    def _turn(self, view: View, scores: Values, unix_ns: Sequence[int]) -> Iterator[PublishFinding]:
        turns = self._hysteresis.turn(view.slots, scores, view.elapsed_s)
        for row, column in turns.fires.tolist():
            node, device_id = self._fleet.owners[view.slots[row]]
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                claim = self._signals[column].claim(view, row, float(scores[row, column]), node, device_id)
            yield self._findings.fire(claim, unix_ns[view.members[row]])
        for row, column in turns.ends.tolist():
            key = self._key(int(view.slots[row]), column)
            yield from self._findings.resolve(key, unix_ns[view.members[row]])

    def _key(self, slot: int, column: int) -> tuple[str, str, str]:
        node, device_id = self._fleet.owners[slot]
        return node, "" if self._fleet.device is Device.HOST else device_id, self._signals[column].kind

    def _seat(self, node: Node, readings: Readings) -> Iterable[tuple[str, str, str]]:
        """The rows of a node's devices; keys of findings whose devices had to give way."""
        seats = node.seats.get(readings.device)
        if seats is not None and seats.ids == readings.ids:
            return ()
        freed = self._make_room(node, readings)
        slots = [self._slot(node, device_id) for device_id in readings.ids]
        node.seats[readings.device] = Seats(readings.ids, np.array(slots, np.intp))
        return freed

    def _slot(self, node: Node, device_id: str) -> int:
        slot = node.slot_of.get((self._fleet.device, device_id))
        if slot is None:
            slot = node.slot_of[self._fleet.device, device_id] = self._fleet.take(node.name, device_id)
            if self._fleet.rows > self._hysteresis.rows:
                self._hysteresis.grow(self._fleet.rows)
                for model in self._models:
                    model.grow(self._fleet.rows)
        return slot

    def _make_room(self, node: Node, readings: Readings) -> list[tuple[str, str, str]]:
        mine = [device_id for device, device_id in node.slot_of if device is self._fleet.device]
        if len({*mine, *readings.ids}) <= DEVICES_PER_NODE:
            return []
        return [key for device_id in mine if device_id not in readings.ids for key in self._give_back(node, device_id)]

    def _give_back(self, node: Node, device_id: str) -> list[tuple[str, str, str]]:
        slot = node.slot_of.pop((self._fleet.device, device_id))
        keys = [self._key(slot, column) for column in range(len(self._signals))]
        self._fleet.clear(slot)
        self._hysteresis.clear(slot)
        for model in self._models:
            model.clear(slot)
        return keys

    def forget(self, node: Node) -> None:
        """The node is gone; its findings are the caller's."""
        for device, device_id in list(node.slot_of):
            if device is self._fleet.device:
                self._give_back(node, device_id)

    def restarted(self, node: Node) -> None:
        """Its agent's counters begin at zero again."""
        self._fleet.restarted(np.array([s for (device, _), s in node.slot_of.items() if device is self._fleet.device], np.intp))
