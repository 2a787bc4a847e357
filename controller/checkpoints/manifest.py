"""Checkpoints of plain files, told by a manifest, `checkpoint.json`:

    {"version": 1, "step": 1200, "files": {"rank-0.pt": 81234, "rank-1.pt": 81234}}

`files` are paths inside the folder and their sizes in bytes; `step` may be left out. A job that begins to write one makes `checkpoint.json.tmp`
first, fills that when all files are there, and renames it last.
"""

import json
from pathlib import Path
from typing import Any, Final

from gpuwarden.controller.checkpoints.checkpoint import MOST_FILES, Checkpoint, Unfinished, lacking, step_in

MARKER: Final = "checkpoint.json"
MOST_BYTES: Final = 16 << 20
VERSION: Final = 1


def look(folder: Path) -> Checkpoint | Unfinished | None:
    """At one folder; None if it has no manifest, not even one that was begun: what else lies there may be anything."""
    marker, begun = folder / MARKER, folder / f"{MARKER}.tmp"
    try:
        stat = marker.stat()
    except FileNotFoundError:
        return Unfinished(folder, f"{MARKER} is not there yet") if begun.exists() else None
    if begun.exists():
        return Unfinished(folder, "it is being written again")
    if stat.st_size > MOST_BYTES:
        return Unfinished(folder, f"{MARKER} has {stat.st_size} bytes, more than {MOST_BYTES}")
    try:
        step, files = _read(marker.read_bytes())
    except (ValueError, RecursionError) as why:
        return Unfinished(folder, f"{MARKER}: {why}")
    if wrong := lacking(folder, files):
        return Unfinished(folder, wrong)
    return Checkpoint(folder, "manifest", stat.st_mtime, step_in(folder.name) if step is None else step, sum(files.values()))


def _read(text: bytes) -> tuple[int | None, dict[str, int]]:
    """(step, bytes of each file); ValueError names the field."""
    document: Any = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("should be a table")  # noqa: TRY004 - as json says that it is no JSON
    if document.get("version") != VERSION:
        raise ValueError(f"version: is {document.get('version')!r}, should be {VERSION}")
    step, files = document.get("step"), document.get("files")
    if step is not None and (type(step) is not int or step < 0):
        raise ValueError(f"step: is {str(step)[:40]!r}, should be a whole number")
    if not isinstance(files, dict) or len(files) > MOST_FILES:
        raise ValueError(f"files: should be a table of {MOST_FILES} at most")
    for name, size in files.items():
        if type(size) is not int or size < 0:
            raise ValueError(f"files: {name[:60]}: is {str(size)[:40]!r}, should be its size in bytes")
    return step, files
