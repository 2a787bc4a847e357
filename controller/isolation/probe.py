"""A test that a node's agent would run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OfferedProbe:
    """Of the agent's own configuration. `harmless`: also beside a job. `needs_w` is of one GPU: it begins once the limits of all are this high."""

    name: str
    harmless: bool = False
    needs_w: float = 0.0
    deadline_s: float = 300.0
