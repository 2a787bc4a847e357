"""What a model is: it learns each device's ordinary behaviour and scores how far from it the device is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.findings import Claim
from gpuwarden.detector.hysteresis import Patience
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device

Flags: TypeAlias = NDArray[np.bool_]


class Model(Protocol):
    """For one device kind. Its rows are those of the fleet."""

    kind: str
    patience: Patience

    def grow(self, rows: int) -> None: ...

    def clear(self, slot: int) -> None: ...

    def score(self, view: View, healthy: Flags) -> Values:
        """Takes in a sample of each row: above 0 is unusual, NaN where nothing new can be said. Learns from healthy rows only."""
        ...

    def claim(self, view: View, row: int, score: float, node: str, device_id: str) -> Claim: ...


@dataclass(frozen=True, slots=True)
class ModelLine:
    """One line of the table: `build(rows)` makes an untaught model."""

    device: Device
    build: Callable[[int], Model]
