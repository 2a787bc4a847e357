"""A systemd unit file as a supervisor needs it: settings, commands, time spans."""

import math
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SPAN_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "": 1.0}


@dataclass(frozen=True, slots=True)
class UnitFile:
    """The settings of all sections, in the order of the file; a key may stand there more than once."""

    path: Path
    settings: Mapping[str, Sequence[str]]
    substitutions: Mapping[str, str]

    def text(self, key: str, default: str) -> str:
        """The last value of a setting that has one value."""
        return self.settings[key][-1] if key in self.settings else default

    def span_s(self, key: str, default_s: float) -> float:
        """Seconds; inf for `infinity`."""
        return span_s(self.settings[key][-1]) if key in self.settings else default_s

    def commands(self, key: str) -> list[list[str]]:
        """What an Exec setting runs, with the substitutions made and systemd's prefixes left out."""
        return [shlex.split(self.substituted(line.lstrip("-@:+!"))) for line in self.settings.get(key, ()) if line]

    def substituted(self, text: str) -> str:
        for old, new in self.substitutions.items():
            text = text.replace(old, new)
        return text


def read_unit(path: Path, substitutions: Mapping[str, str]) -> UnitFile:
    """`substitutions`: what stands in the file, and what is meant here, such as paths of an installed program."""
    settings: dict[str, list[str]] = defaultdict(list)
    joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in joined.splitlines():
        if "=" in line and not line.startswith(("#", ";", "[")):
            key, _, value = line.partition("=")
            settings[key.strip()].append(value.strip())
    return UnitFile(path, dict(settings), substitutions)


def span_s(text: str) -> float:
    """`1min 30s`, `100ms`, `5` or `infinity`, as in systemd.time(7)."""
    if text == "infinity":
        return math.inf
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)", text)
    assert parts, f"a time span: {text!r}"
    return sum(float(number) * _SPAN_S[unit] for number, unit in parts)
