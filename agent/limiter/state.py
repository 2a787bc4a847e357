"""What a limiter remembers over a restart: the highest epoch that it has obeyed, its mode, and its floor."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from gpuwarden.core.config import ConfigError
from gpuwarden.proto.lease_pb2 import Mode


@dataclass(frozen=True, slots=True)
class Remembered:
    """A node that has never obeyed anyone begins at epoch 0 and observes.

    `floor_w` is for who finds the configuration unreadable; None from a limiter that did not write it yet.
    """

    epoch: int = 0
    mode: "Mode.ValueType" = Mode.MODE_OBSERVE
    floor_w: float | None = None


def load_state(path: Path) -> Remembered:
    """ConfigError if the file is there but says nothing that can be understood."""
    try:
        plain = json.loads(path.read_text(encoding="ascii"))
        return Remembered(int(plain["epoch"]), Mode.Value(plain["mode"]), _floor_w(plain.get("floor_w")))
    except FileNotFoundError:
        return Remembered()
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise ConfigError(f"state_file {path}: {why}; without the file this node begins anew, in observe") from None


def _floor_w(plain: float | None) -> float | None:
    if plain is None:
        return None
    if not (math.isfinite(plain) and plain > 0):
        raise ValueError(f"floor_w: is {plain:g}, should be above 0")
    return float(plain)


def save_state(path: Path, remembered: Remembered) -> None:
    """Durable when it returns; after a crash the file is the old one or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    with scratch.open("w", encoding="ascii") as out:
        json.dump({"epoch": remembered.epoch, "mode": Mode.Name(remembered.mode), "floor_w": remembered.floor_w}, out)
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
