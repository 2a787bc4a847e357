"""The ledger held against what it stands for: the grants that arrived at limiters and the limits that cards had.

Every change of a granted limit has a line of its own, written before the grant arrived; no change is written twice; and no limit stood
on a card that no line names.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from chaos.row import FLOOR_W, GPUS, Row
from chaos.watch import SAME_W, Seen, boottime_s
from chaos.word import Run, Word
from gpuwarden.proto.control_pb2 import Action

CLOCKS_S: Final = 0.005  # two clocks read one after the other
KINDS: Final = ("cap", "floor")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a ledger that changes a node's limit, in W for all its cards. `written_s` is CLOCK_BOOTTIME."""

    written_s: float
    controller: str
    epoch: int
    node: str
    before_w: float
    limit_w: float


def entries(row: Row) -> list[Entry]:
    """Of every ledger that the row has had, in order; what a restored copy has in common with its original once."""
    ahead_s = time.time() - boottime_s()
    made = {entry for file in row.folder.glob("ledger*.sqlite") for entry in _entries(file, ahead_s)}
    return sorted(made, key=lambda entry: entry.written_s)


def _entries(file: Path, ahead_s: float) -> Iterator[Entry]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
        rows = ledger.execute("SELECT unix_ns, payload FROM line ORDER BY id").fetchall()
    lines = [(unix_ns, Action.FromString(payload)) for unix_ns, payload in rows]
    (controller,) = {line.subject for _, line in lines if line.kind == "epoch"}
    for unix_ns, line in lines:
        if line.kind in KINDS:
            says = {evidence.name: evidence.value for evidence in line.evidence}
            yield Entry(unix_ns / 1e9 - ahead_s, controller, line.epoch, line.subject, says["limit before"], says["limit"])


@dataclass(frozen=True, slots=True)
class Account:
    """What was found between two moments; `missing` and `twice` are sentences, none where the ledger tells all that was done."""

    lines: int
    missing: list[str]
    twice: list[str]


def account(written: Sequence[Entry], of_nodes: Mapping[str, Sequence[Run]], seen: Mapping[str, Sequence[Seen]], start_s: float, end_s: float) -> Account:
    """`seen` are the looks by node. Everything before `start_s` is known, what came between it and `end_s` is judged."""
    missing, twice = [], []
    for node, of_node in of_nodes.items():
        lines = [entry for entry in written if entry.node == node]
        words = [word for run in of_node for word in run.words]
        missing += [_granted(node, word) for word in unexplained(words, lines) if start_s <= word.arrived_s <= end_s]
        for one, later in _neighbours(lines):
            if start_s <= later.written_s <= end_s:
                missing += [_broken(one, later)] if _breaks(one, later, words) else []
                twice += [f"{node}: {later.limit_w:.0f} W written twice"] if _repeats(one, later, words) else []
        missing += unnamed(node, seen[node], lines)
    return Account(sum(start_s <= entry.written_s <= end_s for entry in written), missing, twice)


def unexplained(words: Sequence[Word], lines: Sequence[Entry]) -> Iterator[Word]:
    """Grants to one node that change its limit and that no line of their own explains. Grants may be lost on the way, lines may not."""
    unused, before = list(lines), dict[str, Word]()
    for word in sorted(words, key=lambda word: (word.epoch, word.sequence)):
        last, before[word.controller] = before.get(word.controller), word
        if last is not None and _same(_sum_w(last), _sum_w(word)):
            continue
        fresh = last is None or last.epoch != word.epoch
        line = next((entry for entry in unused if _explains(entry, word)), None)
        if line is not None:
            unused.remove(line)
        elif not (fresh and _sum_w(word) <= GPUS * (FLOOR_W + SAME_W)) and not _found(word, words):
            yield word


def unnamed(node: str, seen: Sequence[Seen], lines: Sequence[Entry]) -> Iterator[str]:
    """Limits above the floor that came upon a card without a line before."""
    for one, later in pairwise(seen):
        for limit_w in set(later.limits_w[node]) - set(one.limits_w[node]):
            named = any(abs(entry.limit_w / GPUS - limit_w) <= SAME_W and entry.written_s <= later.now_s for entry in lines)
            if limit_w > FLOOR_W + SAME_W and not named:
                yield f"{node}: a card at {limit_w:.0f} W, which no line names"


def _explains(entry: Entry, word: Word) -> bool:
    ours = (entry.controller, entry.epoch) == (word.controller, word.epoch)
    return ours and _same(entry.limit_w, _sum_w(word)) and entry.written_s <= word.arrived_s + CLOCKS_S


def _found(word: Word, words: Iterable[Word]) -> bool:
    """It says what another authority's grant said whose lease ran when the limiter last reported: found, not changed."""
    return any(
        _authority(one) != _authority(word) and _same(_sum_w(one), _sum_w(word)) and one.arrived_s <= word.arrived_s and one.ends_s > word.echo_s
        for one in words
    )


def _neighbours(lines: Iterable[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Lines of one authority that follow each other."""
    last: dict[tuple[str, int], Entry] = {}
    for entry in lines:
        authority = entry.controller, entry.epoch
        if authority in last:
            yield last[authority], entry
        last[authority] = entry


def _breaks(one: Entry, later: Entry, words: Iterable[Word]) -> bool:
    """It begins with a limit that the line before did not end with, and that was not found in force either."""
    others = (word for word in words if _authority(word) != (later.controller, later.epoch) and word.arrived_s <= later.written_s)
    return not _same(one.limit_w, later.before_w) and not any(_same(_sum_w(word), later.before_w) for word in others)


def _repeats(one: Entry, later: Entry, words: Iterable[Word]) -> bool:
    """Where all leases had ended in between, the same change is made anew."""
    alike = _same(one.limit_w, later.limit_w) and _same(one.before_w, later.before_w)
    return _same(later.before_w, later.limit_w) or (alike and any(word.arrived_s <= later.written_s < word.ends_s for word in words))


def _authority(word: Word) -> tuple[str, int]:
    return word.controller, word.epoch


def _sum_w(word: Word) -> float:
    return sum(word.limits_w)


def _same(one_w: float, other_w: float) -> bool:
    return abs(one_w - other_w) <= SAME_W


def _granted(node: str, word: Word) -> str:
    return f"{node}: {_sum_w(word):.0f} W granted by epoch {word.epoch}, sequence {word.sequence}, in no line"


def _broken(one: Entry, later: Entry) -> str:
    return f"{later.node}: a line ends with {one.limit_w:.0f} W, the next begins with {later.before_w:.0f} W"
