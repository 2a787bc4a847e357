"""Lines of scripts and tables that undo what the limiter sets."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpuwarden.cli.checks.found import Found, warning

LARGEST_BYTES: Final = 1 << 20
_SMI: Final = r"nvidia-smi\b.*\s"
_UNDOES: Final = (
    ("sets power limits", re.compile(_SMI + r"(-pl|--power-limit)\b|dcgmi\s+config\b.*(-P|--powerlimit)\b")),
    ("sets or resets clocks", re.compile(_SMI + r"(-lgc|-rgc|-lmc|-rmc|-ac|-rac|--(lock|reset)-(gpu|memory)-clocks|--(reset-)?applications-clocks)\b")),
    ("turns persistence mode off", re.compile(_SMI + r"(-pm|--persistence-mode)[\s=]*(0|DISABLED)\b")),
    ("resets cards: limits are back at the default", re.compile(_SMI + r"(-r|--gpu-reset)\b")),
    ("unloads the driver: limits are back at the default", re.compile(r"\b(rmmod|modprobe\s+(-r|--remove))\s+(\S+\s+)*nvidia\b")),
)


def found(path: Path) -> Iterator[Found]:
    """Nothing of a file that cannot be read: tables of other users, which root alone reads."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:LARGEST_BYTES]
    except OSError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for what, pattern in _UNDOES:
            if pattern.search(line):
                yield warning(f"{path}:{number} {what}: {line.strip()}", f"$EDITOR {path}")
