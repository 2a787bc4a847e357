"""How it is seen that a file has changed."""

from pathlib import Path
from typing import TypeAlias

Version: TypeAlias = tuple[int, int, int]


def version_of(path: Path) -> Version:
    """Another one after every write, rename and change of mode; OSError if the file is not there."""
    found = path.stat()
    return found.st_ctime_ns, found.st_ino, found.st_size
