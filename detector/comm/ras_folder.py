"""A folder of answers of NCCL's RAS port, in files whose names begin with `ras` and end with `.json` or `.txt`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpuwarden.core.nccl.fields import Bad
from gpuwarden.core.nccl.ras import MOST_BYTES, Answer, read

_ENDINGS: Final = (".json", ".txt")


@dataclass(frozen=True, slots=True)
class Answers:
    """In order of time. `refused`: file name and why, of those that could not be read."""

    in_order: tuple[Answer, ...]
    refused: Mapping[str, str]


def answers_in(folder: Path) -> Answers:
    """Raises OSError where the folder cannot be read."""
    answers, refused = list[Answer](), dict[str, str]()
    for file in sorted(folder.iterdir()):
        if file.name.startswith("ras") and file.suffix in _ENDINGS:
            try:
                with file.open("rb") as opened:
                    answers.append(read(opened.read(MOST_BYTES + 1)))
            except (Bad, OSError) as why:
                refused[file.name] = str(why)
    return Answers(tuple(sorted(answers, key=lambda one: one.at)), refused)
