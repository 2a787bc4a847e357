"""Room for what must not be lost: the ledger, the telemetry spool, the limiter's memory, the history."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.place import Place

LEAST_BYTES: Final = 64 << 20  # a write-ahead log and a day of ledger lines
ENOUGH_BYTES: Final = 2 << 30  # the spool's 256 MiB, and a million lines of the ledger
HISTORY: Final = "var/lib/gpuwarden-recorder"  # StateDirectory of the recorder's unit


def check(place: Place) -> Iterator[Found]:
    files = dict(_files(place))
    if not files:
        yield absent("nothing that is configured here keeps files")
    for what, file in files.items():
        yield _room(what, file)


def _files(place: Place) -> Iterator[tuple[str, Path]]:
    if (controller := place.controller) is not None:
        yield "ledger_file", controller.ledger_file
    if (agent := place.agent) is not None and agent.spool_file is not None:
        yield "spool_file", agent.spool_file
    if (limiter := place.limiter) is not None:
        yield "state_file", limiter.state_file
    if (place.root / HISTORY).exists():
        yield "history", place.root / HISTORY / "gpu"


def _room(what: str, file: Path) -> Found:
    folder = file.parent
    if not folder.is_dir():
        return wrong(f"{what}: the folder {folder} is not there", f"install -d {folder}")
    free = shutil.disk_usage(folder).free
    said = f"{what}: {folder} has {free / 2**30:,.1f} GiB free"
    if free < LEAST_BYTES:
        return wrong(f"{said}, less than {LEAST_BYTES >> 20} MiB", f"du -xsh {folder}/*")
    if free < ENOUGH_BYTES:
        return warning(f"{said}, less than {ENOUGH_BYTES >> 30} GiB", f"du -xsh {folder}/*")
    return ok(said)
