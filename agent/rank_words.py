"""The door for what ranks of jobs say: one JSON object a message, from processes of any user. See `rank_hook/rank.py`, which writes them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpuwarden.agent.reading import JobPhase, Progress, RankEnd, RankGroup, RankPending, RankTimed

VERSION: Final = 1
MOST_BYTES: Final = 128 << 10
MOST_GROUPS: Final = 256
MOST_PENDING: Final = 64  # of a group
MOST_TIMED: Final = 1000
MOST_RANKS: Final = 100_000
MOST_COUNT: Final = 2**53
MOST_S: Final = 1e9
MOST_CHARS: Final = 300

_PHASES: Final = {"": JobPhase.TRAINING, "checkpoint": JobPhase.CHECKPOINT, "evaluation": JobPhase.EVALUATION}
_ENDS: Final = {"": RankEnd.RUNS, "left": RankEnd.LEFT, "raised": RankEnd.RAISED}


class BadWord(ValueError):
    """The field and the reason."""


@dataclass(frozen=True, slots=True)
class Word:
    """One message, checked. `number` counts those of a connection from 1. `job` is what the process says, which need not be true."""

    number: int
    job: str
    rank: int
    ranks: int
    attempt: int
    groups: tuple[RankGroup, ...]
    timed: tuple[RankTimed, ...]
    end: RankEnd
    why: str
    launcher: bool


@dataclass(frozen=True, slots=True)
class ProgressWord:
    """A training script's own message, checked."""

    number: int
    job: str
    progress: Progress


def read(message: bytes) -> Word | ProgressWord:
    """Raises BadWord."""
    if len(message) > MOST_BYTES:
        raise BadWord(f"message: has more than {MOST_BYTES} bytes")
    try:
        said = _mapping(json.loads(message), "message")
    except (ValueError, RecursionError) as why:
        raise why if isinstance(why, BadWord) else BadWord(f"message: is no JSON: {str(why)[:100]}") from None
    if said.get("version") != VERSION:
        raise BadWord(f"version: is {str(said.get('version'))[:20]!r}, this reader knows {VERSION}")
    rank, ranks = _count(said, "rank", MOST_RANKS), _count(said, "ranks", MOST_RANKS)
    if rank >= ranks:
        raise BadWord(f"rank: is {rank} of {ranks}")
    if "progress" in said:
        return ProgressWord(_count(said, "number", MOST_COUNT), _named(said), _progress(_mapping(said["progress"], "progress"), rank))
    groups = {str(group.get("number")): _group(group) for group in _mappings(said, "groups", MOST_GROUPS)}
    timed = tuple(_timed(row, groups) for row in _rows(said, "timed", MOST_TIMED, 6))
    end = said.get("end", "")
    if not isinstance(end, str) or end not in _ENDS:
        raise BadWord(f"end: is {str(end)[:20]!r}, should be one of {', '.join(_ENDS)}")
    job = _named(said)
    reason = _text(said, "why") if "why" in said else ""
    return Word(_count(said, "number", MOST_COUNT), job, rank, ranks, _count(said, "attempt", MOST_RANKS), tuple(groups.values()), timed, _ENDS[end], reason, said.get("launcher") is True)


def _named(said: Mapping[str, Any]) -> str:
    job = _text(said, "job")
    if not job:
        raise BadWord("job: is empty")
    return job


def _progress(of: Mapping[str, Any], rank: int) -> Progress:
    phase = of.get("phase", "")
    if not isinstance(phase, str) or phase not in _PHASES:
        raise BadWord(f"progress.phase: is {str(phase)[:20]!r}, should be one of {', '.join(filter(None, _PHASES))}, or empty")
    return Progress(rank, _count(of, "step", MOST_COUNT), _measured(of, "loss"), _measured(of, "grad_norm"), _PHASES[phase])


def _measured(of: Mapping[str, Any], name: str) -> float | None:
    """NaN and infinity are what somebody wants to know of."""
    value = of.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise BadWord(f"progress.{name}: is a {type(value).__name__}, should be a number")
    try:
        return None if value is None else float(value)
    except OverflowError:
        return math.inf


def _group(group: Mapping[str, Any]) -> RankGroup:
    asked, done = _count(group, "asked", MOST_COUNT), _count(group, "done", MOST_COUNT)
    if done > asked:
        raise BadWord(f"done: is {done} of {asked} asked for")
    members = _items(group, "ranks", MOST_RANKS) if "ranks" in group else []
    ranks = tuple(_whole(member, "ranks", MOST_RANKS) for member in members)
    if len(set(ranks)) != len(ranks):
        raise BadWord("ranks: hold one twice")
    pending = tuple(
        RankPending(
            _whole(order, "pending.order", MOST_COUNT), _whole(number, "pending.number", MOST_COUNT), str(name)[:MOST_CHARS], message is True,
            _seconds(age_s, "pending.age_s"),
        )
        for order, number, name, message, age_s in _rows(group, "pending", MOST_PENDING, 5)
    )  # fmt: skip
    return RankGroup(_text(group, "id"), _text(group, "desc"), ranks, asked, done, _seconds(group.get("oldest_s"), "oldest_s"), pending)


def _timed(row: Sequence[Any], groups: Mapping[str, RankGroup]) -> RankTimed:
    number, name, place, elements, took_s, age_s = row
    if str(number) not in groups:
        raise BadWord(f"timed: names the group {str(number)[:20]!r}, which is not among groups")
    return RankTimed(
        groups[str(number)].id, str(name)[:MOST_CHARS], _whole(place, "timed.number", MOST_COUNT), _whole(elements, "timed.elements", MOST_COUNT),
        _seconds(took_s, "timed.took_s"), _seconds(age_s, "timed.age_s"),
    )  # fmt: skip


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadWord(f"{field}: is a {type(value).__name__}, should be a mapping")
    return value


def _items(of: Mapping[str, Any], field: str, most: int) -> list[Any]:
    value = of.get(field)
    if not isinstance(value, list) or len(value) > most:
        raise BadWord(f"{field}: is not a list of {most} at most")
    return value


def _mappings(of: Mapping[str, Any], field: str, most: int) -> list[Mapping[str, Any]]:
    return [_mapping(item, field) for item in _items(of, field, most)]


def _rows(of: Mapping[str, Any], field: str, most: int, width: int) -> list[list[Any]]:
    rows = _items(of, field, most)
    if any(not isinstance(row, list) or len(row) != width for row in rows):
        raise BadWord(f"{field}: holds what is not a list of {width}")
    return rows


def _text(of: Mapping[str, Any], field: str) -> str:
    value = of.get(field)
    if not isinstance(value, str) or len(value) > MOST_CHARS:
        raise BadWord(f"{field}: is not text of {MOST_CHARS} characters at most")
    return value


def _count(of: Mapping[str, Any], field: str, most: int) -> int:
    return _whole(of.get(field), field, most)


def _whole(value: object, field: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise BadWord(f"{field}: is {str(value)[:20]!r}, should be a whole number from 0 to {most}")
    return value


def _seconds(value: object, field: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not 0 <= value < MOST_S:
        raise BadWord(f"{field}: is {str(value)[:20]!r}, should be seconds, 0 or more")
    return float(value)
