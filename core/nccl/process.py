"""A process of a job, as records of different libraries name it alike."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A host may run several."""

    host: str
    pid: int
