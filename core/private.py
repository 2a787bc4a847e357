"""Files that only their owner may read: sealing keys, certificates' keys, passwords."""

import os
from pathlib import Path
from typing import Final

from gpuwarden.core.config import ConfigError
from gpuwarden.core.seal import KEY_BYTES

_OTHERS: Final = 0o077  # bits that such a file must not have
_GROUP_READS: Final = 0o040


def check_private(path: Path) -> None:
    """ConfigError with the fix if the file is absent or others may read it.

    A credential that systemd hands over (LoadCredential=) shows its access list, which is for the service's user alone, as the group's bit.
    """
    try:
        mode = path.stat().st_mode
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None
    handed_over = str(path.parent) == os.environ.get("CREDENTIALS_DIRECTORY")
    if mode & (_OTHERS & ~_GROUP_READS if handed_over else _OTHERS):
        raise ConfigError(f"{path}: others may read it; chmod 600 {path}")


def read_private(path: Path) -> str:
    """Its text without the white space around it; ConfigError as above, or if it is no text."""
    check_private(path)
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not text") from None


def read_key(path: Path) -> bytes:
    """A sealing key: one line of hex digits."""
    try:
        key = bytes.fromhex(read_private(path))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: is not a key: {2 * KEY_BYTES} hex digits are expected")
    return key
