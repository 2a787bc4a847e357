"""A simulated job whose processes write NCCL Inspector's lines into growing logs on their nodes, and the agents of these nodes, a second after the other in virtual time."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gpuwarden.agent.collectors.inspector import Inspector
from gpuwarden.agent.comm import job_of
from gpuwarden.agent.events import Collected, SendComm, Tick
from gpuwarden.agent.jobs import Jobs
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.core.nccl.inspector import Done
from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.events import Raw
from gpuwarden.proto import topics
from gpuwarden.sim.comm.written import line

BEGAN_US = 1_767_225_600_000_000


@dataclass
class Inspected:
    """`seconds` yields what the agents send in each."""

    folder: Path
    job: str = "j1"
    now_s: float = 1000.0
    clock_off_us: int = 0  # of the first node, against the others'
    _nodes: dict[str, tuple[Inspector, Agent]] = field(default_factory=dict)
    _sent: int = 0

    def seconds(self, operations: Iterator[Done]) -> Iterator[list[Raw]]:
        dumps = defaultdict[int, dict[Process, list[str]]](lambda: defaultdict(list))
        for done in operations:
            dumps[done.dumped_us][done.process].append(line(done))
        for dumped_us in sorted(dumps):
            for process, lines in dumps[dumped_us].items():
                self._write(process, lines, dumped_us)
            self.now_s += 1.0
            yield [raw for name in self._nodes for raw in self._pass(name)]

    def close(self) -> None:
        for inspector, _ in self._nodes.values():
            inspector.close()

    def _write(self, process: Process, lines: list[str], dumped_us: int) -> None:
        logs = self.folder / process.host / self.job
        if process.host not in self._nodes:
            logs.mkdir(parents=True)
            inspector = Inspector(logs.parent, frozenset({process.host}), Jobs(self.folder / "proc"), None)
            inspector.collect()
            self._nodes[process.host] = inspector, Agent(AgentSetup(process.host, "s1", ("inspector",)))
        with (logs / f"{process.host}-pid{process.pid}.log").open("a") as log:
            off_us = self.clock_off_us if process.host == "host0" else 0
            log.write("".join(f"{one}\n" for one in lines).replace(f'_us":{dumped_us},', f'_us":{BEGAN_US + dumped_us + off_us},'))

    def _pass(self, name: str) -> Iterator[Raw]:
        inspector, agent = self._nodes[name]
        reading = inspector.collect()
        assert not reading.lacks, reading.lacks
        for action in (*agent.step(self.now_s, Tick(10**18)), *agent.step(self.now_s, Collected("inspector", reading, 0.01))):
            if isinstance(action, SendComm):
                self._sent += 1
                yield Raw(0, self._sent, job_of(action.payload), action.payload, topics.COMM)
