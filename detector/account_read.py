"""What an account of jobs needs of the history: rows of cards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector import history_parts
from gpuwarden.detector.history_jobs import JOBS
from gpuwarden.detector.history_parts import MOST_ROWS, Wanted

METRICS: Final = (
    "gpu_energy_joules_total", "gpu_energy_since_load_joules", "gpu_power_watts", "gpu_capped_by_us", "gpu_throttle_reasons",
    "gpu_power_limit_enforced_watts", "gpu_power_limit_default_watts",
)
COLUMNS: Final = ("node", "agent_start", "sequence", "unix_ns", "device_id", *METRICS, JOBS)


def parts(folder: Path, start_ns: int, end_ns: int, most_rows: int = MOST_ROWS) -> Iterator[pa.Table]:
    """GPU rows with COLUMNS, as `history_parts.parts`."""
    yield from history_parts.parts(folder, Wanted("gpu", COLUMNS, start_ns, end_ns), most_rows)
