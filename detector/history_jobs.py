"""Whose jobs ran on a card when it was read: a column of the GPU table.

A list for each row, each job once however many processes it has there. Empty: no process. Null: the driver does not tell, or
the recorder was one that did not record it.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # has no types

from gpuwarden.proto.decode import Sample

JOBS: Final = "jobs"
JOB_BYTES: Final = 200  # what Python takes for one of a sample


class Job(NamedTuple):
    """'' where unknown."""

    job_id: str
    user: str
    job_class: str


Jobs = Mapping[str, tuple[Job, ...]]
FIELD: Final = pa.field(
    JOBS, pa.list_(pa.struct([(name, pa.string()) for name in Job._fields])),
    metadata={"meaning": "jobs with a process on the card, each once; null: not known"},
)


@lru_cache(maxsize=1 << 16)
def _once(text: str) -> str:
    """The first that was equal to it. Not `sys.intern`: the interpreter's table grows with what comes and goes."""
    return text


def jobs_of(sample: Sample) -> Jobs:
    """By GPU. The names are kept once for all samples, and nothing of the sample's message is."""
    found: dict[str, dict[Job, None]] = {}
    for process in sample.processes:
        job = Job(_once(process.job_id), _once(process.user), _once(process.job_class))
        found.setdefault(_once(process.gpu_id), {})[job] = None
    return {gpu: tuple(sorted(jobs)) for gpu, jobs in found.items()}


def column(rows: Iterable[tuple[Jobs, str, float]]) -> Any:
    """Of (jobs, GPU, processes that the driver counted there) rows; NaN processes: it told none."""
    told = [jobs.get(gpu, () if processes == 0 else None) for jobs, gpu, processes in rows]
    return pa.array([None if jobs is None else [job._asdict() for job in jobs] for jobs in told], FIELD.type)
