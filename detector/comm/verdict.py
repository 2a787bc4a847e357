"""What can be said of a job that hangs or is slow, from whatever its ranks told."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NO_LAUNCH: Final = "non-communication hang"  # C4D's name where some ranks never launched what their peers wait in
DEVICE, OUTSIDE, DEAD, UNKNOWN = "gpu_error", "lock_gil", "dead", "unknown"
WORDS: Final = {
    DEVICE: "its device has work pending that its peers have done",
    OUTSIDE: "it has nothing pending and asks for nothing more: it is stuck outside the communication library",
    DEAD: "its process is taken for dead by the others",
    UNKNOWN: "what keeps it cannot be told from this",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`ranks` hold `held_up` others up. `confidence` from 0 to 1: nearer to 1 the more bear witness. `evidence`: sentences. `chain`: the longest
    of the shortest waits that end there, a sentence each."""

    ranks: tuple[int, ...]
    syndrome: str
    kind: str
    confidence: float
    evidence: tuple[str, ...]
    chain: tuple[str, ...]
    held_up: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`remarks`: what was seen and names nobody."""

    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]


def confidence_of(witnesses: int) -> float:
    """One half for one, three quarters for two: it orders findings, and is no measured frequency."""
    return 1.0 - 0.5**witnesses


def listed(ranks: Iterable[int]) -> str:
    """Of numbers in order: "0-3, 8"."""
    runs = list[list[int]]()
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
