"""What `gpuwarden up` saw on this machine's own GPUs: counted from the bus and the ledger while it ran."""

import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from gpuwarden.core.bus import Bus, Consumer, Record
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import Refused, Sample, decode
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.proto.topics import FINDINGS, TELEMETRY

if TYPE_CHECKING:
    from gpuwarden.controller.ledger import Ledger
    from gpuwarden.detector.history import Recorder

GROUP: Final = "gpuwarden-up"
POLL_S: Final = 0.2
POLL_RECORDS: Final = 1000
FLUSH_S: Final = 60.0  # as `gpuwarden record` does
LEDGER_LINES: Final = 1000
POWER: Final = next(i for i, metric in enumerate(COLUMNS[Device.GPU]) if metric.name == "gpu_power_watts")


class Tally:
    """Follows the bus in one thread. Its figures are complete once `follow` has returned."""

    def __init__(self, recorder: "Recorder | None") -> None:
        self._recorder = recorder
        self.samples_sent = 0
        self.gpu_peak_w = 0.0
        self.fired = Counter[str]()
        self.firing = dict[str, Finding]()

    def follow(self, bus: Bus, stop: threading.Event) -> None:
        """Until `stop` is set and all that is on the bus was read. OSError if the history cannot be written."""
        consumer, flushed_s = bus.consumer((TELEMETRY, FINDINGS), GROUP), time.monotonic()
        while not stop.is_set():
            self._read(consumer, POLL_S)
            if time.monotonic() >= flushed_s + FLUSH_S:
                self._flush()
                flushed_s = time.monotonic()
        while self._read(consumer, 0.0):
            pass
        self._flush()
        consumer.close()

    def _flush(self) -> None:
        if self._recorder is not None:
            self._recorder.flush()

    def _read(self, consumer: Consumer, patience_s: float) -> bool:
        records = consumer.poll(patience_s, POLL_RECORDS)
        for record in records:
            if record.topic == FINDINGS:
                self._take_finding(Finding.FromString(record.value))
            else:
                self._take_sample(record)
        return bool(records)

    def _take_finding(self, finding: Finding) -> None:
        if finding.state != FindingState.FINDING_STATE_FIRING:
            self.firing.pop(finding.id, None)
            return
        self.fired[finding.kind] += finding.id not in self.firing
        self.firing[finding.id] = finding

    def _take_sample(self, record: Record) -> None:
        self.samples_sent += 1
        if self._recorder is not None:
            self._recorder.take(record.partition, record.offset, record.value)
        with suppress(Refused):  # the detector tells of it and counts it
            self.gpu_peak_w = max(self.gpu_peak_w, _gpu_power_w(decode(record.value)))


def _gpu_power_w(sample: Sample) -> float:
    """Of all cards together; one that does not tell is left out."""
    return float(sum(np.nansum(block.values[:, POWER]) for block in sample.readings if block.device is Device.GPU))


def ledger_kinds(ledger: "Ledger", after_id: int) -> Counter[str]:
    """How many lines of each kind came after that one; what was only thought of is `would ...`."""
    kinds = Counter[str]()
    while lines := ledger.after(after_id, LEDGER_LINES):
        kinds.update(line.kind if line.performed else f"would {line.kind}" for line in lines)
        after_id = lines[-1].id
    return kinds
