"""Files that only their owner may read, and how it is seen that one has changed."""

from pathlib import Path
from typing import TypeAlias

from gpuwarden.core.config import KEY_FILE_MODE, ConfigError

Version: TypeAlias = tuple[int, int, int]


def version_of(path: Path) -> Version:
    """Another one after every write, rename and change of mode; OSError if the file is not there."""
    found = path.stat()
    return found.st_ctime_ns, found.st_ino, found.st_size


def check_private(path: Path) -> None:
    """ConfigError with the fix if the file is absent or others may read it."""
    try:
        mode = path.stat().st_mode
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None
    if mode & KEY_FILE_MODE:
        raise ConfigError(f"{path}: others may read it; chmod 600 {path}")
