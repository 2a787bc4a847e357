"""Outcomes in a file, a line of JSON each, so that hours add up over several invocations."""

import json
from collections import Counter
from dataclasses import fields
from pathlib import Path

from gpuwarden.sim.safety.ordeal import Outcome


def add_to(path: Path, outcome: Outcome) -> None:
    with path.open("a") as file:
        file.write(json.dumps({one.name: getattr(outcome, one.name) for one in fields(outcome)}) + "\n")


def outcomes_in(path: Path) -> list[Outcome]:
    """None where there is no such file yet."""
    return [_outcome(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _outcome(kept: dict[str, object]) -> Outcome:
    one = Outcome(**kept)  # type: ignore[arg-type]  # as it was written
    one.faults, one.over_s, one.longest_s = Counter(one.faults), tuple(one.over_s), tuple(one.longest_s)
    return one
