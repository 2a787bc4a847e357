"""Node samples a second and core from agent to finding: encode, Apache Kafka, decode, rules and models.

    python bench/ingest.py [--nodes 1000] [--passes 65] [--json FILE]

Stages run one after another in this process, so that the CPU time of each is its own; the broker's CPU is counted apart. The agents'
part (encode, send) runs on the nodes in a cluster; the detector's part (receive, decode, judge) is what one detector core carries.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "tests")]

from load import NodeLoad, passes
from services import kafka

from gpuwarden.core.bus import Bus, BusConfig, Record
from gpuwarden.core.connect import connect
from gpuwarden.core.service import spare_garbage_collection
from gpuwarden.detector.events import Polled, PublishFinding, Raw
from gpuwarden.detector.inlet import POLL_RECORDS
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto import topics
from gpuwarden.proto.decode import decode_all

TARGET_PER_S: Final = 5000
SETTLE_S: Final = 3.0  # for the broker's own start to be over
AGENT_STAGES: Final = ("encode", "send")


class Stages:
    """CPU seconds of this process, all threads, by stage."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        before_s = time.process_time()
        yield
        self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - before_s


def cpu_of(pid: int) -> float:
    """CPU seconds of another process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send(bus: Bus, nodes: int, count: int, stages: Stages) -> int:
    """Encodes and sends every sample; their number of bytes."""
    producer, sent_bytes = bus.producer(), 0
    for readings in passes([NodeLoad(i) for i in range(nodes)], count):
        with stages.stage("encode"):
            payloads = [(node.name, node.encode(rows)) for node, rows in readings]
        with stages.stage("send"):
            for name, payload in payloads:
                producer.send(topics.TELEMETRY, name, payload)
            producer.flush(60)
        sent_bytes += sum(len(payload) for _, payload in payloads)
    producer.close()
    return sent_bytes


def receive(bus: Bus, expected: int, stages: Stages) -> list[list[Record]]:
    """Every record, by poll."""
    consumer, polls = bus.consumer((topics.TELEMETRY,), "bench"), list[list[Record]]()
    with stages.stage("receive"):
        while sum(map(len, polls)) < expected:
            polls.append(consumer.poll(1.0, POLL_RECORDS))
            consumer.commit({(r.topic, r.partition): r.offset + 1 for r in polls[-1]})
    consumer.close()
    return polls


def judge(polls: Iterable[list[Record]], stages: Stages) -> Detector:
    """Decodes everything once for its cost alone, then lets the machine do all of it."""
    events = [Polled(tuple(Raw(r.partition, r.offset, r.key, r.value) for r in poll)) for poll in polls]
    with stages.stage("decode"):
        for event in events:
            decode_all(raw.payload for raw in event.records)
    detector, findings = Detector(DetectorSetup()), 0
    with stages.stage("judge"):
        for event in events:
            findings += sum(isinstance(action, PublishFinding) for action in detector.step(0.0, event))
    stages.cpu_s["judge"] -= stages.cpu_s["decode"]
    assert findings == 0, "every node of this load is healthy"
    return detector


def measure(bootstrap: str, broker_pid: int, nodes: int, count: int) -> dict[str, object]:
    stages, samples = Stages(), nodes * count
    bus = connect(BusConfig(bootstrap=(bootstrap,)))
    time.sleep(SETTLE_S)
    broker_s, start_s = cpu_of(broker_pid), time.monotonic()
    sent_bytes = send(bus, nodes, count, stages)
    polls = receive(bus, samples, stages)
    broker_s = cpu_of(broker_pid) - broker_s
    detector = judge(polls, stages)
    assert detector.samples_judged == samples, (detector.samples_judged, detector.refused, detector.samples_repeated)
    return result(stages.cpu_s, samples, sent_bytes, broker_s, time.monotonic() - start_s)


def result(cpu_s: dict[str, float], samples: int, sent_bytes: int, broker_s: float, wall_s: float) -> dict[str, object]:
    total_s = sum(cpu_s.values())
    detector_s = sum(s for stage, s in cpu_s.items() if stage not in AGENT_STAGES)
    return {
        "samples": samples,
        "bytes_per_sample": sent_bytes / samples,
        "samples_per_s_per_core": samples / total_s,
        "detector_samples_per_s_per_core": samples / detector_s,
        "stage_us_per_sample": {stage: 1e6 * s / samples for stage, s in cpu_s.items()},
        "broker_us_per_sample": 1e6 * broker_s / samples,
        "bound_by": max(cpu_s, key=cpu_s.__getitem__),
        "wall_s": wall_s,
        "target_per_s_per_core": TARGET_PER_S,
    }


def tell(measured: dict[str, object], say: Callable[[str], None] = print) -> None:
    stages = measured["stage_us_per_sample"]
    assert isinstance(stages, dict)
    total_us = sum(stages.values())
    say(f"{measured['samples']:,} node samples of {measured['bytes_per_sample']:,.0f} bytes, 8 GPUs x 32 + 30 host + 12 port metrics")
    for stage, us in stages.items():
        say(f"  {stage:<8} {us:6.1f} us  {100 * us / total_us:4.0f} %")
    say(f"  broker   {measured['broker_us_per_sample']:6.1f} us  (apart)")
    say(f"{measured['samples_per_s_per_core']:,.0f} a second and core end to end (target {TARGET_PER_S:,}), bound by {measured['bound_by']}")
    say(f"{measured['detector_samples_per_s_per_core']:,.0f} a second and core of a detector")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=1000)
    options.add_argument("--passes", type=int, default=65)
    options.add_argument("--json", type=Path)
    args = options.parse_args()
    spare_garbage_collection()  # as the daemon does
    with tempfile.TemporaryDirectory() as folder, kafka.running(Path(folder)) as broker:
        measured = measure(broker.bootstrap, broker.server.pid, args.nodes, args.passes)
    tell(measured)
    if args.json:
        args.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return 0 if measured["samples_per_s_per_core"] >= TARGET_PER_S else 1  # type: ignore[operator]  # a number by name


if __name__ == "__main__":
    sys.exit(main())
