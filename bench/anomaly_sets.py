"""The labelled sets as the bench reads them: one entity a file, arrays train, test (rows, metrics) and label (rows)."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

DAY_MIN: Final = 1440
# Name in the results, folder, minutes from row to row (of the set's authors).
SETS: Final = (
    ("smd", "server_machine_dataset", 1),
    ("asd", "application_server_dataset", 5),
    ("jumpstarter", "jumpstarter_services", 5),
)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Entity:
    """One machine. `causes` are (first row, last row, metrics) of its labelled events, both rows inside."""

    name: str
    train: Array
    test: Array
    label: NDArray[np.bool_]
    causes: tuple[tuple[int, int, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class LabelledSet:
    name: str
    step_min: int
    entities: tuple[Entity, ...]

    @property
    def day(self) -> int:
        """Rows of a day."""
        return DAY_MIN // self.step_min

    @property
    def node_days(self) -> float:
        return sum(len(e.test) for e in self.entities) / self.day


def read(data: Path, at_most: int | None) -> Iterator[LabelledSet]:
    for name, folder, step_min in SETS:
        paths = sorted((data / folder).glob("*.npz"))[:at_most]
        causes = _causes(data / folder / "root_cause.csv")
        if paths:
            yield LabelledSet(name, step_min, tuple(_entity(path, causes) for path in paths))


def _entity(path: Path, causes: dict[str, list[tuple[int, int, tuple[int, ...]]]]) -> Entity:
    with np.load(path, allow_pickle=False) as held:
        missing = {"train", "test", "label"} - set(held)
        if missing:
            raise ValueError(f"{path}: has no array {', '.join(sorted(missing))}")
        train, test, label = (np.asarray(held[key], np.float64) for key in ("train", "test", "label"))
    if train.ndim != 2 or test.shape[1:] != train.shape[1:] or label.shape != test.shape[:1]:
        raise ValueError(f"{path}: train {train.shape}, test {test.shape} and label {label.shape} do not fit together")
    return Entity(path.stem, train, test, label > 0, tuple(causes.get(path.stem, ())))


def _causes(path: Path) -> dict[str, list[tuple[int, int, tuple[int, ...]]]]:
    found: dict[str, list[tuple[int, int, tuple[int, ...]]]] = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                metrics = tuple(int(m) for m in row["metrics"].split())
                found.setdefault(row["entity"], []).append((int(row["first"]), int(row["last"]), metrics))
    return found
