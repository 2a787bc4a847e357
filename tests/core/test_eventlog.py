"""A recorded run replays to the same actions, and a damaged log says where."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuwarden.core.eventlog import BadLog, EventLog, digest, read_head, read_steps, replay
from gpuwarden.core.plain import Reader


@dataclass(frozen=True, slots=True)
class Reading:
    """An event."""

    power_w: float


@dataclass(frozen=True, slots=True)
class Cap:
    """An action."""

    limit_w: float


@dataclass(frozen=True, slots=True)
class Setup:
    """What the machine starts from."""

    budget_w: float


class Capper:
    """A machine with a memory: caps whenever the highest power so far is over budget."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._highest_w = setup, 0.0

    def step(self, now_s: float, event: Reading) -> list[Cap]:
        self._highest_w = max(self._highest_w, event.power_w)
        return [Cap(self._setup.budget_w - now_s)] if self._highest_w > self._setup.budget_w else []


READER = Reader([Reading, Setup])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of three steps, of which the last two act."""
    machine = Capper(Setup(100.0))
    log = EventLog(tmp_path / "logs", "limiter", "n1", Setup(100.0))
    for now_s, power_w in ((0.25, 50.0), (1.0, 150.0), (2.0, float("nan"))):
        log.write(now_s, Reading(power_w), machine.step(now_s, Reading(power_w)))
    log.close()
    return log.path


def test_a_replay_leads_to_the_recorded_actions(path: Path) -> None:
    replayed = list(replay(read_steps(path, READER), lambda: Capper(Setup(100.0))))
    assert [(step.step.now_s, step.same, len(step.actions)) for step in replayed] == [(0.25, True, 0), (1.0, True, 1), (2.0, True, 1)]


def test_a_machine_that_decides_otherwise_is_found_out(path: Path) -> None:
    replayed = list(replay(read_steps(path, READER), lambda: Capper(Setup(120.0))))
    assert [step.same for step in replayed] == [True, False, False]


def test_the_head_tells_part_and_setup(path: Path) -> None:
    part, setup = read_head(path)
    assert (part, READER.read(setup)) == ("limiter", Setup(100.0))


def test_a_last_line_that_a_crash_cut_short_is_passed_over(path: Path) -> None:
    path.write_text(path.read_text()[:-20])
    assert [step.line for step in read_steps(path, READER)] == [2, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", r":3: is not JSON"),
        ('{"now_s": 1, "actions": ""}', r":3: event: "),
        ('{"now_s": 1, "event": {"$": "Evil"}, "actions": ""}', r":3: event: .*Evil"),
        ('{"now_s": [], "event": 1, "actions": ""}', r":3: event: "),
        ("[]", r":3: event: "),
    ],
)
def test_a_damaged_line_is_named(path: Path, line: str, reason: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], line + "\n", *lines[2:]]))
    with pytest.raises(BadLog, match=reason):
        list(read_steps(path, READER))


@pytest.mark.parametrize("head", ["", "[]\n", '{"format": 99}\n', "{\n"])
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, head: str) -> None:
    (tmp_path / "x.jsonl").write_text(head)
    with pytest.raises(BadLog, match=r"x\.jsonl:1: "):
        read_head(tmp_path / "x.jsonl")


def test_a_digest_tells_actions_and_their_order_apart() -> None:
    orders = [[], [Cap(1.0)], [Cap(1.0), Cap(2.0)], [Cap(2.0), Cap(1.0)]]
    assert len({digest(actions) for actions in orders}) == 4
