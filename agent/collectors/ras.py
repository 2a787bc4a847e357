"""NCCL's RAS ports on this node: of each job what its processes have launched, and who is missing. One node asks for the whole job, and seldom.

The port answers for all nodes, so the node of the lowest rank that answers goes on to ask; the others look again now and then whether that has become theirs. A version that is
known to crash or to write what cannot be read is asked no more, as long as it runs there.
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.jobs import UNNAMED, Jobs
from gpuwarden.agent.ras_client import RasAway, RasFailed, ask
from gpuwarden.agent.reading import RasReading, Reading, Unsupported
from gpuwarden.core.address import Address
from gpuwarden.core.nccl.fields import Bad
from gpuwarden.core.nccl.ras import Answer, Member, read

IDLE_S: Final = 600.0  # for those who do not ask for the job, or where nothing listens at a first look
AWAY_S: Final = 60.0
KNOWN_BAD: Final = {
    "2.26.2": "crashes jobs that are asked", "2.26.5": "crashes jobs that are asked", "2.27.3": "crashes jobs that are asked", "2.27.7": "crashes", "2.29.7": "crashes jobs that are asked",
}  # fmt: skip
"""NCCL issue threads; of those with JSON (2.28.7 and later) 2.29.7 alone is ever asked, once."""
MENDED: Final = "the answer's JSON is broken, as NCCL 2.28.9 writes it where ranks are missing"


@dataclass(slots=True)
class _Port:
    """One job's. `why`: what is wrong with it, or nothing; `bad`: a version that is not asked again until it has gone."""

    at: Address
    due_s: float = 0.0
    why: str = ""
    bad: str = ""
    asking: threading.Thread | None = None
    answers: list[RasReading] = field(default_factory=list)


class Ras:
    """Each port is asked in a thread of its own, which never keeps a pass waiting."""

    name = "ras"

    def __init__(self, ports: tuple[Address, ...], period_s: float, jobs: Jobs, asked: Callable[[Address], bytes] = ask) -> None:
        self._ports, self._period_s, self._jobs, self._ask = [_Port(at) for at in ports], period_s, jobs, asked

    def collect(self) -> Reading:
        now_s = time.monotonic()
        readings = tuple(answer for port in self._ports for answer in self._taken(port))
        for port in self._ports:
            if port.asking is None and now_s >= port.due_s:
                port.asking = threading.Thread(target=self._look, args=(port,), name="ras", daemon=True)
                port.asking.start()
        return Reading(comm=readings, lacks=tuple(f"{port.at}: {port.why}" for port in self._ports if port.why))

    def close(self) -> None:
        """Daemon threads: a port that does not answer holds nobody up."""

    def _taken(self, port: _Port) -> list[RasReading]:
        if port.asking is None or port.asking.is_alive():
            return []
        port.asking, answers = None, port.answers
        port.answers = []
        return answers

    def _look(self, port: _Port) -> None:
        """In the port's thread, which alone touches it meanwhile."""
        began_s = time.monotonic()
        port.due_s = began_s + self._period_s
        try:
            if port.bad:
                port.bad = port.why = self._still(port)
            else:
                self._answered(port, self._ask(port.at), began_s)
        except RasAway:
            port.why, port.due_s = "", began_s + AWAY_S
        except (RasFailed, Bad) as why:
            port.why, port.due_s = str(why), began_s + IDLE_S

    def _still(self, port: _Port) -> str:
        """Whether it listens: that asks nothing."""
        try:
            socket.create_connection((port.at.host, port.at.port), 1.0).close()
        except OSError:
            return ""
        return port.bad

    def _answered(self, port: _Port, payload: bytes, began_s: float) -> None:
        answer = read(payload)
        if why := KNOWN_BAD.get(answer.version):
            port.bad = port.why = f"NCCL {answer.version} {why}: it is not asked again"
            return
        if answer.mended:
            raise Bad(f"file: {MENDED}")
        port.why = ""
        ours = [member for one in answer.communicators for member in one.members if _is_ours(member.process.host)]
        if not ours or _first(answer) not in ours:
            port.due_s = began_s + IDLE_S
            return
        job = self._jobs.of(ours[0].process.pid).id
        if job in UNNAMED:
            raise Bad(f"ranks: whose job process {ours[0].process.pid} is cannot be told")
        port.answers.append(RasReading(job, ours[0].process.pid, answer))


def _first(answer: Answer) -> Member:
    """The lowest rank of the largest communicator that has answered."""
    largest = max(answer.communicators, key=lambda one: (one.size, len(one.members)))
    return min(largest.members, key=lambda member: member.rank)


def _is_ours(host: str) -> bool:
    """Names, or the addresses of this node."""
    if host.partition(".")[0] == socket.gethostname().partition(".")[0]:
        return True
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((socket.inet_ntop(family, socket.inet_pton(family, host)), 0))
    except OSError:
        return False
    return True


def open(config: AgentConfig) -> Ras:
    """Raises Unsupported where no port is configured."""
    if config.ras is None:
        raise Unsupported("not configured: there is no ras")
    return Ras(config.ras.ports, config.ras.period_s, Jobs(config.proc, config.job_map))
