"""When each job was on any card, as a recorded history tells: since it first was, and in which gaps it was on none."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector.history_jobs import JOBS
from gpuwarden.detector.history_parts import Wanted, parts

LOOK_S: Final = 5  # what is shorter is not told apart
GAP_S: Final = 60.0  # a job that is on no card for longer was away, as in the account of jobs


@dataclass(frozen=True, slots=True)
class Presence:
    """Of a job: its id, and its user, since one id of two users is two jobs. Unix seconds, good to LOOK_S. `gaps`: from when to when it was on no card."""

    job_id: str
    user: str
    first_s: float
    last_s: float
    gaps: tuple[tuple[float, float], ...]


def presences(folder: Path, start_ns: int, end_ns: int) -> list[Presence]:
    """Of all jobs with an id in [start_ns, end_ns), by id and user. Raises BadHistory."""
    seen: defaultdict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    known = list[np.ndarray]()
    for part in parts(folder, Wanted("gpu", ("unix_ns", JOBS), start_ns, end_ns)):
        looks = part.column("unix_ns").combine_chunks().to_numpy(zero_copy_only=False) // (LOOK_S * 10**9)
        known.append(np.unique(looks))
        for job, of in _by_job(part, looks):
            seen[job].append(of)
    recorded = np.unique(np.concatenate(known)) if known else np.array([])
    return [_presence(job, np.unique(np.concatenate(seen[job])), recorded) for job in sorted(seen)]


def _by_job(part: pa.Table, looks: np.ndarray) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """Different looks of each job in this part."""
    lists = part.column(JOBS).combine_chunks()
    at, jobs = pc.list_parent_indices(lists).to_numpy(), lists.flatten()
    table = pa.table({"id": pc.fill_null(jobs.field("job_id"), ""), "user": pc.fill_null(jobs.field("user"), ""), "look": looks[at]})
    for row in table.group_by(["id", "user"]).aggregate([("look", "distinct")]).to_pylist():
        if row["id"]:
            yield (row["id"], row["user"]), np.array(row["look_distinct"])


def _presence(job: tuple[str, str], looks: np.ndarray, recorded: np.ndarray) -> Presence:
    """A gap in which nobody recorded anything is none of the job's."""
    ends = np.flatnonzero(np.diff(looks) * LOOK_S > GAP_S)
    gaps = [(int(looks[at]), int(looks[at + 1])) for at in ends]
    told = [(begin, end) for begin, end in gaps if _recorded_s(recorded, begin, end) > GAP_S]
    return Presence(*job, float(looks[0] * LOOK_S), float((looks[-1] + 1) * LOOK_S), tuple((float((begin + 1) * LOOK_S), float(end * LOOK_S)) for begin, end in told))


def _recorded_s(recorded: np.ndarray, begin: int, end: int) -> float:
    """How much of the time between these two looks anything was recorded in."""
    return float(LOOK_S * ((recorded > begin) & (recorded < end)).sum())
