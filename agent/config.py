"""What the agent's TOML file says. Without a file an agent collects what there is and sends nothing."""

import math
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from gpuwarden.agent.probe_config import ProbeConfig
from gpuwarden.core.address import Address
from gpuwarden.core.bus import MAX_RECORD_BYTES, BusConfig
from gpuwarden.core.config import option

DEFAULT_COLLECTORS = ("nvml", "host", "infiniband")
PROBES_MOST = 16


@dataclass(frozen=True, slots=True)
class FakeConfig:
    """What the collector `fake` pretends."""

    gpus: int = option("GPUs of the pretended node", default=8)
    nics: int = option("InfiniBand ports of the pretended node", default=8)
    seed: int = option("the same seed gives the same readings", default=1)


@dataclass(frozen=True, slots=True)
class BmcConfig:
    """This node's BMC, read by the collector `bmc`."""

    url: str = option("https://host or https://host:port of the BMC; http only to loopback")
    user: str = option("an account that may read (role ReadOnly)")
    password_file: Path = option("file with the password and nothing else, which only its owner may read")
    ca_file: Path | None = option("certificates (PEM) that vouch for the BMC's; none: the system's", default=None)
    verify: bool = option("false: the password goes to whoever answers at the address", default=True)

    def problems(self) -> Iterator[str]:
        try:
            yield from self._url_problems(urlsplit(self.url))
        except ValueError as why:
            yield f"url: {why}"
        if not self.user or ":" in self.user:
            yield f"user: is {self.user!r}, should be a name without a colon"
        if self.ca_file is not None and not self.verify:
            yield "ca_file: is of no use with verify = false"

    def _url_problems(self, url: SplitResult) -> Iterator[str]:
        if url.username is not None or url.password is not None:
            yield "url: holds a user or password, which belong into user and password_file"
        elif url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/") or url.query or url.fragment:
            yield f"url: is {self.url!r}, should be https://host or https://host:port"
        elif not Address(url.hostname, url.port or 443).loopback and url.scheme == "http":
            yield f"url: is {self.url!r}, should be https: the password would be there for all to read"


@dataclass(frozen=True, slots=True)
class RasConfig:
    """NCCL's RAS ports on this node, for the collector ras."""

    ports: tuple[Address, ...] = option("where jobs' RAS servers listen, each job's NCCL_RAS_ADDR", default=(Address("127.0.0.1", 28028),))
    period_s: float = option("from one question to the next, by the one node of a job that asks", default=30.0)

    def problems(self) -> Iterator[str]:
        if not self.ports:
            yield "ports: are none"
        if any(not port.loopback for port in self.ports):
            yield "ports: one is no loopback address; RAS has no login, and listens on loopback only"
        if not (math.isfinite(self.period_s) and self.period_s >= 10):
            yield f"period_s: is {self.period_s:g}, should be 10 or more: each question goes to all processes of the job"


@dataclass(frozen=True, slots=True)
class JobLogConfig:
    """Logs of training scripts, for the collector job. Regular expressions, looked for in each line."""

    dir: Path = option("folder of jobs' logs, a folder each: DIR/JOB/*.log")
    step: str = option("a line that tells of a step, with the group (?P<step>), and (?P<loss>) and (?P<grad_norm>) where it tells of them")
    checkpoint: str = option("a line that tells that a checkpoint begins; it lasts until the next step", default="")
    evaluation: str = option("a line that tells that an evaluation begins; it lasts until the next step", default="")

    def problems(self) -> Iterator[str]:
        for name, pattern in (("step", self.step), ("checkpoint", self.checkpoint), ("evaluation", self.evaluation)):
            try:
                groups = re.compile(pattern).groupindex
            except re.error as why:
                yield f"{name}: is no regular expression: {why}"
            else:
                if name == "step" and "step" not in groups:
                    yield "step: has no group (?P<step>)"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    node: str = option("this node's name in the controller's file; empty: the host's name", default="")
    period_s: float = option("from one pass over the node to the next", default=1.0)
    collectors: tuple[str, ...] = option(
        "what to read: nvml, host, infiniband, bmc, ranks, inspector, ras, job, or fake; one whose hardware is not there is left out", default=DEFAULT_COLLECTORS
    )
    bus: BusConfig | None = option("where telemetry goes; none: only to the metrics page", default=None)
    spool_file: Path | None = option("where telemetry is kept until the brokers have it; none: in memory, 16 MiB at most", default=None)
    spool_bytes: int = option("telemetry that may wait; beyond it the oldest readings are dropped, device events stay", default=256 << 20)
    tls_dir: Path | None = option("folder with ca.crt, tls.crt, tls.key for controller and metrics; without it loopback only", default=None)
    controller: Address | None = option("where power reports go; none: power is not controlled", default=None)
    limiter_socket: Path | None = option("where this node's limiter listens; none: there is none", default=None)
    metrics_listen: Address | None = option("where /metrics is served; none: nowhere", default=None)
    job_map: Path | None = option("TOML that names jobs of users whose processes do not; see agent/jobs.py", default=None)
    rank_socket: Path | None = option("where ranks of jobs say how far they are, for the collector ranks; none: nowhere", default=None)
    inspector_dir: Path | None = option("where jobs of this node have NCCL Inspector write, a folder each, for the collector inspector; on its own disk", default=None)
    inspector_plugin: Path | None = option("libnccl-profiler-inspector.so as jobs see it, for `agent env`; none: it does not ask for Inspector", default=None)
    inspector_ring: Path | None = option("where Inspector's newest raw lines are kept, 16 MiB a process at most; none: nowhere", default=None)
    proc: Path = option("where the kernel's process file system is mounted", default=Path("/proc"))
    sys: Path = option("where the kernel's device file system is mounted", default=Path("/sys"))
    bmc: BmcConfig | None = option("the collector bmc; none: the BMC is not read", default=None)
    ras: RasConfig | None = option("the collector ras; none: NCCL's RAS ports are not asked", default=None)
    job_log: JobLogConfig | None = option("the collector job; none: no logs of training scripts are followed", default=None)
    probes: tuple[ProbeConfig, ...] = option("tests of this node that the controller may ask for; none: it tests nothing", default=())
    fake: FakeConfig = option("the collector fake", default=FakeConfig())

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        from gpuwarden.agent.collectors import COLLECTORS  # collectors read this config: they come after it

        for name in self.collectors:
            if name not in COLLECTORS:
                yield f"collectors: {name!r} is not known; known are {', '.join(COLLECTORS)}"
        if len(set(self.collectors)) != len(self.collectors):
            yield "collectors: one is named twice"
        if not (math.isfinite(self.period_s) and self.period_s >= 0.1):
            yield f"period_s: is {self.period_s:g}, should be 0.1 or more: a driver is not read more than ten times a second"
        if self.spool_bytes < MAX_RECORD_BYTES:
            yield f"spool_bytes: is {self.spool_bytes}, should be {MAX_RECORD_BYTES} (one record) or more"
        if self.metrics_listen is not None and not self.metrics_listen.loopback and self.tls_dir is None:
            yield f"metrics_listen: is {self.metrics_listen}, should be a loopback address where there is no tls_dir"
        if self.controller is not None and not self.controller.loopback and self.tls_dir is None:
            yield f"controller: is {self.controller}, beyond loopback it needs tls_dir"
        if self.limiter_socket is not None and self.controller is None:
            yield "limiter_socket: is of no use without controller"
        if self.rank_socket is not None and "ranks" not in self.collectors:
            yield "rank_socket: is of no use without ranks among the collectors"
        if self.inspector_dir is not None and "inspector" not in self.collectors:
            yield "inspector_dir: is of no use without inspector among the collectors"
        if self.inspector_dir is None and (self.inspector_ring is not None or self.inspector_plugin is not None):
            yield "inspector_ring, inspector_plugin: are of no use without inspector_dir"
        if self.ras is not None and "ras" not in self.collectors:
            yield "ras: is of no use without ras among the collectors"
        if self.job_log is not None and "job" not in self.collectors:
            yield "job_log: is of no use without job among the collectors"
        if self.bmc is not None and "bmc" not in self.collectors:
            yield "bmc: is of no use without bmc among the collectors"
        yield from self._probe_problems()

    def _probe_problems(self) -> Iterator[str]:
        if self.probes and self.controller is None:
            yield "probes: are of no use without controller"
        if len({probe.name for probe in self.probes}) != len(self.probes):
            yield "probes: two have the same name"
        if len(self.probes) > PROBES_MOST:
            yield f"probes: are {len(self.probes)}, should be {PROBES_MOST} at most"


def named(config: AgentConfig) -> AgentConfig:
    """With the node's name filled in."""
    return replace(config, node=config.node or socket.gethostname())
