"""Files and folders that are still there after a loss of power."""

import os
from pathlib import Path


def write_durable(path: Path, body: bytes) -> None:
    """Returns when the content is durable; the name is once its folder has been synced too."""
    with path.open("wb") as out:
        out.write(body)
        out.flush()
        os.fsync(out.fileno())


def sync_folder(folder: Path) -> None:
    """The names in it are durable on return."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
