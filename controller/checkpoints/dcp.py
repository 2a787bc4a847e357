"""Checkpoints of torch.distributed.checkpoint: `.metadata` is renamed into place when all ranks have written their `.distcp` files.

That file is a pickle. It is never loaded, which would run what it says; its operations are read one by one, and only the strings and whole
numbers among them are looked at: each stored piece is told as relative_path, offset and length, in this order (`_StorageInfo` of torch 2.15).
"""

import itertools
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gpuwarden.controller.checkpoints.checkpoint import MOST_FILES, Checkpoint, Unfinished, lacking, step_in

MARKER: Final = ".metadata"
MOST_BYTES: Final = 64 << 20
NEWER_S: Final = 1.0  # of clocks of nodes that write to one file system: differences up to this are no sign

_STORED: Final = ("relative_path", "offset", "length")


def look(folder: Path) -> Checkpoint | Unfinished | None:
    """At one folder; None if nothing in it looks like one."""
    parts = list(itertools.islice(folder.glob("*.distcp"), MOST_FILES))
    marker = folder / MARKER
    try:
        stat = marker.stat()
    except FileNotFoundError:
        return Unfinished(folder, f"{MARKER} is not there yet") if parts else None
    if stat.st_size > MOST_BYTES:
        return Unfinished(folder, f"{MARKER} has {stat.st_size} bytes, more than the {MOST_BYTES} that are read")
    try:
        least_bytes = _least_bytes(marker.read_bytes())
    except ValueError as why:
        return Unfinished(folder, f"{MARKER} cannot be read: {why}")
    if wrong := lacking(folder, least_bytes) or _rewritten(folder, parts, stat.st_mtime):
        return Unfinished(folder, wrong)
    return Checkpoint(folder, "dcp", stat.st_mtime, step_in(folder.name), sum(least_bytes.values()))


def _rewritten(folder: Path, parts: list[Path], written_s: float) -> str:
    """Saved again into the same folder, the old `.metadata` stays until the new files are all there; they are newer than it."""
    if (folder / f"{MARKER}.tmp").exists():
        return "it is being written again"
    newer = [part.name for part in parts if part.stat().st_mtime > written_s + NEWER_S]
    return f"{newer[0]} is newer than {MARKER}: it was being written again" if newer else ""


def _least_bytes(pickled: bytes) -> dict[str, int]:
    """How long each file is at least. ValueError if it is no such pickle."""
    least: dict[str, int] = {}
    window: list[str | int | None] = []
    for value in _values(pickled):
        window = [*window[-5:], value]
        if tuple(window[::2]) != _STORED:
            continue
        name, offset, length = window[1::2]
        if not isinstance(name, str) or not isinstance(offset, int) or not isinstance(length, int) or offset < 0 or length < 0:
            raise ValueError("a stored piece is told as no file, offset and length")
        least[name] = max(least.get(name, 0), offset + length)
        if len(least) > MOST_FILES:
            raise ValueError(f"names more than {MOST_FILES} files")
    return least


def _values(pickled: bytes) -> Iterator[str | int | None]:
    """The strings and whole numbers in a pickle's operations, in order; None for what else it refers back to."""
    memo: dict[int, str | int | None] = {}
    last: str | int | None = None
    operation: pickletools.OpcodeInfo
    argument: Any
    for operation, argument, _ in pickletools.genops(pickled):
        name = operation.name
        if name == "MEMOIZE":
            memo[len(memo)] = last
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = last
        elif name in ("BINGET", "LONG_BINGET"):
            last = memo.get(argument)
            yield last
        elif isinstance(argument, str | int) and name not in ("PROTO", "FRAME"):
            last = argument
            yield last
        else:
            last = None
