"""What a collector returns: one pass over a node's devices."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from gpuwarden.core.nccl.ras import Answer
from gpuwarden.proto.catalogue import Device


class Unsupported(Exception):
    """This node has no such hardware or library: the collector is left out, and that is said once."""


class NoReading(Exception):
    """Nothing to read this time; the collector stays."""


class GpuLost(Exception):
    """The driver no longer reaches this card; the others may be well."""


class SessionOver(Exception):
    """The driver went away under its library: only a new process can go on."""


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One device. `values` maps catalogue names to values in catalogue units; a metric that cannot be read is absent.

    `id` is the GPU's UUID, the node's name for the host, `<hca>/<port>` for a NIC. Counters hold the source's absolute value.
    """

    device: Device
    id: str
    index: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU, and the job it belongs to ('' where unknown)."""

    gpu_id: str
    pid: int
    memory_bytes: int
    job_id: str = ""
    user: str = ""
    job_class: str = ""


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """Something that happened to a device: `kind` is one of xid, recovery_action, gpu_lost, driver_hung, driver_reloaded."""

    kind: str
    device_id: str
    code: int
    message: str


class RankEnd(Enum):
    """How a rank took leave: not at all, in order, by an exception, or without a word. Numbers are those of `CommEnd`."""

    RUNS = 0
    LEFT = 1
    RAISED = 2
    SILENT = 3


@dataclass(frozen=True, slots=True)
class RankPending:
    """An operation that is not done, `age_s` after it was asked for. `order`: of all that the rank has asked for; `number`: of the group's collectives."""

    order: int
    number: int
    name: str
    message: bool
    age_s: float


@dataclass(frozen=True, slots=True)
class RankGroup:
    """A process group as one rank knows it. `ranks` is empty where it was not said this time; `oldest_s`: how long the oldest has been pending."""

    id: str
    desc: str
    ranks: tuple[int, ...]
    asked: int
    done: int
    oldest_s: float
    pending: tuple[RankPending, ...]


@dataclass(frozen=True, slots=True)
class RankTimed:
    """A collective that was done `age_s` before it was told, and what it took, the waiting included."""

    group: str
    name: str
    number: int
    elements: int
    took_s: float
    age_s: float


@dataclass(frozen=True, slots=True)
class RankReading:
    """What a rank of a job, or what started it, has said, or that its connection has ended, `age_s` ago."""

    job: str
    rank: int
    ranks: int
    pid: int
    attempt: int
    groups: tuple[RankGroup, ...]
    timed: tuple[RankTimed, ...]
    end: RankEnd
    why: str
    age_s: float
    launcher: bool = False


@dataclass(frozen=True, slots=True)
class TimesRow:
    """Operations of one kind and second as a process of `communicator` saw them. `offsets` of their numbers from `first`, none where one follows the other, and
    `took_us`: little-endian uint32 each. `dumped_us`: by the node's wall clock. `peer`: of a message."""

    communicator: str
    rank: int
    ranks: int
    name: str
    peer: int | None
    size_bucket_bytes: int
    dumped_us: int
    first: int
    offsets: bytes
    took_us: bytes


@dataclass(frozen=True, slots=True)
class TimedReading:
    """What NCCL Inspector wrote of a process of a job since the last pass."""

    job: str
    pid: int
    rows: tuple[TimesRow, ...]


@dataclass(frozen=True, slots=True)
class RasReading:
    """What NCCL's RAS port said of a job; `pid` is one of its processes on this node."""

    job: str
    pid: int
    answer: Answer


class JobPhase(Enum):
    """What a job does: it trains, or stands still without being ill. Numbers are those of `CommPhase`."""

    TRAINING = 0
    CHECKPOINT = 1
    EVALUATION = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rank's training is. `loss` and `grad_norm` may be infinite or NaN; None where they are not told."""

    rank: int
    step: int
    loss: float | None
    grad_norm: float | None
    phase: JobPhase


@dataclass(frozen=True, slots=True)
class ProgressReading:
    """What a training script, or its log, said `age_s` ago. `ended`: it says nothing more."""

    job: str
    pid: int
    progress: Progress
    age_s: float
    ended: bool


CommReading: TypeAlias = RankReading | TimedReading | RasReading | ProgressReading


@dataclass(frozen=True, slots=True)
class Reading:
    """One collector's pass. `lacks` names what this node's library or kernel cannot tell, each with the reason."""

    devices: tuple[DeviceReading, ...] = ()
    processes: tuple[GpuProcess, ...] = ()
    events: tuple[DeviceEvent, ...] = ()
    lacks: tuple[str, ...] = ()
    comm: tuple[CommReading, ...] = ()


class Collector(Protocol):
    """Reads one source. May raise anything; the one boundary that calls it counts and logs the failure."""

    name: str

    def collect(self) -> Reading: ...

    def close(self) -> None: ...
