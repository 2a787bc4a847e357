"""What NCCL Inspector's logs cost a node, and how soon they name a slow rank: 4,000 lines a second, 8 ranks x 500, through an agent, Apache Kafka and a detector.

    python bench/inspector.py [--seconds 40] [--rank 3] [--json FILE]

A simulated job of eight ranks writes as fast as they would, a second's lines of each at once, one rank 10 % slower than the others. The agent reads nothing else. At most 3 % of a core and 200 kB/s to Kafka.
What the agent costs without lines stands beside it, and what of it is the reading of lines alone. Afterwards, of a job of 64 ranks and 10 minutes: whether lines and rows of seconds give the same findings.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from process_cost import cpu_s
from services import kafka
from services.port import free_port, wait_until_open

from gpuwarden.agent.comm import record
from gpuwarden.agent.inspector_rows import Process as Reader
from gpuwarden.agent.reading import TimedReading
from gpuwarden.core.bus import Bus, BusConfig
from gpuwarden.core.connect import connect
from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.comm.slow import verdict_on
from gpuwarden.detector.comm.table import WINDOW_US, Table
from gpuwarden.detector.comm.timings import Timings
from gpuwarden.proto import topics
from gpuwarden.proto.comm_pb2 import CommSummary
from gpuwarden.proto.finding_pb2 import Finding
from gpuwarden.sim.comm.job import Job
from gpuwarden.sim.comm.shape import Fault, Shape
from gpuwarden.sim.comm.written import line

COMMAND = [sys.executable, "-m", "gpuwarden.cli"]
NODE, JOB = "host0", "77"
RANKS, A_SECOND = 8, 500
CORES_LIMIT, KB_LIMIT = 0.03, 200.0
IDLE_S = 10.0
_STAMP = re.compile(r'"dump_timestamp_us":\d+')
Lines = Mapping[Process, Sequence[str]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--rank", type=int, default=3, help="the slow one")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    seconds = written(args.seconds, args.rank)
    made = {**reading_alone(seconds), **live(seconds, args.rank), **same()}
    print(json.dumps(made, indent=1))
    if args.json:
        args.json.write_text(json.dumps(made) + "\n", encoding="utf-8")
    return 0 if made["cores"] <= CORES_LIMIT and made["kb_a_second"] <= KB_LIMIT and made["named_after_s"] and made["lines_and_rows_agree"] else 1


def written(seconds: int, rank: int) -> list[Lines]:
    """Of each second as many of each rank as a node is to bear."""
    of = defaultdict[Process, list[str]](list)
    job = Job(Shape(RANKS, 1, 1, microbatches=4), (Fault("slow_gpu", rank, 0.1),), 1)
    for done in job.run(1 + seconds * A_SECOND // 16):
        of[done.process].append(line(done))
    return [{process: lines[A_SECOND * second : A_SECOND * (second + 1)] for process, lines in of.items()} for second in range(seconds)]


def stamped(lines: Sequence[str], unix_us: int) -> bytes:
    """As of one dump."""
    return _STAMP.sub(f'"dump_timestamp_us":{unix_us}', "".join(f"{one}\n" for one in lines)).encode()


def reading_alone(seconds: Sequence[Lines]) -> dict[str, Any]:
    """From whole lines to records, without files, threads and Kafka."""
    readers = {process: Reader(process.pid, frozenset({NODE})) for process in seconds[0]}
    came = [(readers[process], stamped(lines, second * 1_000_000).splitlines()) for second, of in enumerate(seconds) for process, lines in of.items()]
    began_s = time.process_time()
    for reader, lines in came:
        record(NODE, "s", 1, 1, TimedReading(JOB, reader.pid, reader.rows(lines)))
    took_s = time.process_time() - began_s
    assert not any(reader.refused for reader in readers.values())
    return {"us_a_line": round(1e6 * took_s / sum(len(lines) for _, lines in came), 2), "cores_of_lines_alone": round(took_s / len(seconds), 4)}


def live(seconds: Sequence[Lines], rank: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        folder = Path(scratch)
        (folder / "kafka").mkdir()
        (folder / "logs" / JOB).mkdir(parents=True)
        broker = opened.enter_context(kafka.running(folder / "kafka"))
        bus = connect(BusConfig(bootstrap=(broker.bootstrap,), partitions=2))
        agent = _started(folder, "agent", f'node = "{NODE}"\ncollectors = ["inspector"]\ninspector_dir = "{folder}/logs"\nproc = "{folder}"\n', broker.bootstrap, opened)
        _started(folder, "detector", "stale_s = 60\n", broker.bootstrap, opened)
        findings = bus.consumer((topics.FINDINGS,), "bench", from_start=False)
        opened.callback(findings.close)
        findings.poll(IDLE_S, 1)
        began_s, cpu_before_s = time.monotonic(), cpu_s(agent.pid)
        time.sleep(IDLE_S)
        idle = (cpu_s(agent.pid) - cpu_before_s) / (time.monotonic() - began_s)
        began_s, cpu_before_s, named_s = time.monotonic(), cpu_s(agent.pid), None
        for second, of in enumerate(seconds, 1):
            for process, lines in of.items():
                with (folder / "logs" / JOB / f"{NODE}-pid{process.pid}.log").open("ab") as log:
                    log.write(stamped(lines, time.time_ns() // 1000))
            while (left_s := began_s + second - time.monotonic()) > 0:
                told = [Finding.FromString(one.value) for one in findings.poll(left_s, 100)]
                if named_s is None and any((one.kind, one.subject.id) == ("rank_slow", f"{JOB}/{rank}") for one in told):
                    named_s = time.monotonic() - began_s
        took_s = time.monotonic() - began_s
        cores = (cpu_s(agent.pid) - cpu_before_s) / took_s
        time.sleep(3.0)
        return {"cores": round(cores, 4), "cores_without_lines": round(idle, 4), "named_after_s": named_s and round(named_s, 1), **_sent(bus, took_s, seconds)}


def _started(folder: Path, name: str, keys: str, bootstrap: str, opened: ExitStack) -> "subprocess.Popen[bytes]":
    port, log = free_port(), folder / f"{name}.log"
    (folder / f"{name}.toml").write_text(f'{keys}metrics_listen = "127.0.0.1:{port}"\n[bus]\nbootstrap = ["{bootstrap}"]\n')
    with log.open("wb") as out:
        process = subprocess.Popen([*COMMAND, name, "--config", str(folder / f"{name}.toml")], stdout=out, stderr=out)
    opened.callback(process.wait, 20)
    opened.callback(process.terminate)
    wait_until_open(port, process, log, 60.0)
    return process


def _sent(bus: Bus, took_s: float, seconds: Sequence[Lines]) -> dict[str, Any]:
    """What came on the topic; as many operations as lines were written, or not."""
    consumer, sizes, rows, operations = bus.consumer((topics.COMM,), "bench-sizes"), 0, 0, 0
    while records := consumer.poll(5.0, 5000):
        for one in records:
            times = CommSummary.FromString(one.value).timed.times
            sizes, rows, operations = sizes + len(one.value), rows + len(times), operations + sum(len(row.took_us) // 4 for row in times)
    consumer.close()
    written_lines = sum(len(lines) for of in seconds for lines in of.values())
    return {"lines": written_lines, "operations_on_the_topic": operations, "kb_a_second": round(sizes / took_s / 1000, 1), "rows_a_second": round(rows / took_s, 1)}


def same() -> dict[str, Any]:
    """Steps of 3 to 4 s."""
    job, timings, table = Job(Shape(8, 2, 4), (Fault("slow_gpu", 13, 0.1), Fault("slow_nic", 5, 0.5)), 1, True, 50.0), Timings(), Table()
    done = [one for one in job.run(190) if one.dumped_us <= 600_000_000]
    timings.take(done)
    by_process = defaultdict[Process, list[bytes]](list)
    for one in done:
        by_process[one.process].append(line(one).encode())
    for process, lines in by_process.items():
        rows = Reader(process.pid, frozenset({process.host})).rows(lines)
        said = CommSummary.FromString(record(process.host, "s", 1, 1, TimedReading(JOB, process.pid, rows)))
        table.take(0.0, process, said.timed.times)
    by_lines, began_s = verdict_on(timings), time.process_time()
    by_rows = verdict_on(table.newest(WINDOW_US))
    return {"judged_in_s": round(time.process_time() - began_s, 2), "lines_of_10_minutes": len(done), "lasted_s": round(max(one.dumped_us for one in done) / 1e6), "findings": len(by_lines.findings), "lines_and_rows_agree": by_lines == by_rows}


if __name__ == "__main__":
    raise SystemExit(main())
