"""What ranks say is checked at the door: each field has its reason."""

import json
import pickle

import pytest
from fakes.rank_word import word

from gpuwarden.agent.rank_words import MOST_BYTES, BadWord, ProgressWord, Word, read
from gpuwarden.agent.reading import JobPhase, Progress, RankEnd


def test_a_whole_word_is_read() -> None:
    said = read(json.dumps(word()).encode())
    assert isinstance(said, Word)
    assert (said.number, said.job, said.rank, said.ranks, said.end) == (3, "42", 1, 2, RankEnd.RUNS)
    (group,), (timed,) = said.groups, said.timed
    assert (group.ranks, group.asked, group.done, group.pending[0].name) == ((0, 1), 7, 6, "gloo:all_reduce")
    assert (timed.group, timed.number, timed.took_s) == ("ab", 6, 0.25)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (json.dumps(word()).encode()[:-9], "message: is no JSON"),
        (pickle.dumps({"version": 1}), "message: is no JSON"),
        (b"[" * 100_000, "message: is no JSON"),
        (b"x" * (MOST_BYTES + 1), "message: has more than"),
        (b"[]", "message: is a list"),
        (json.dumps(word(version=2)).encode(), "version: is '2'"),
        (json.dumps(word(rank=2)).encode(), "rank: is 2 of 2"),
        (json.dumps(word(rank=True)).encode(), "rank: is 'True'"),
        (json.dumps(word(job="")).encode(), "job: is empty"),
        (json.dumps(word(job="x" * 400)).encode(), "job: is not text"),
        (json.dumps(word(end="murdered")).encode(), "end: is 'murdered'"),
        (json.dumps(word(groups=[{**word()["groups"][0], "done": 8}])).encode(), "done: is 8 of 7"),
        (json.dumps(word(groups=[{**word()["groups"][0], "ranks": [1, 1]}])).encode(), "ranks: hold one twice"),
        (json.dumps(word(groups=[{**word()["groups"][0], "oldest_s": float("nan")}])).encode(), "oldest_s: is 'nan'"),
        (json.dumps(word(groups=[{**word()["groups"][0], "pending": [[1]]}])).encode(), "pending: holds what is not a list of 5"),
        (json.dumps(word(timed=[["7", "all_reduce", 6, 1, 0.1, 0.1]])).encode(), "timed: names the group '7'"),
        (json.dumps(word(timed=[["0", "all_reduce", 6, 1, -0.1, 0.1]])).encode(), "timed.took_s: is '-0.1'"),
    ],
)
def test_what_is_wrong_is_refused_with_the_field_and_the_reason(message: bytes, why: str) -> None:
    with pytest.raises(BadWord, match="^" + why.replace("[", r"\[")):
        read(message)


def told(**progress: object) -> bytes:
    return json.dumps({"version": 1, "number": 1, "rank": 1, "ranks": 2, "job": "42", "attempt": 0, "progress": {"step": 7, **progress}}).encode()


def test_progress_is_read_and_its_numbers_may_be_none() -> None:
    assert read(told(loss=2, phase="evaluation")) == ProgressWord(1, "42", Progress(1, 7, 2.0, None, JobPhase.EVALUATION))
    huge = read(told(loss=10**400, grad_norm=float("-inf")))
    assert isinstance(huge, ProgressWord) and huge.progress == Progress(1, 7, float("inf"), float("-inf"), JobPhase.TRAINING)


@pytest.mark.parametrize(("message", "why"), [
    (told(step=-1), "step: "), (told(step="7"), "step: "), (told(loss="2"), "progress.loss: is a str"), (told(phase="sleeping"), "progress.phase: is 'sleeping'"),
    (told(phase=[]), "progress.phase: is"), (json.dumps(word(progress=[])).encode(), "progress: is a list"),
])  # fmt: skip
def test_progress_that_cannot_be_is_refused(message: bytes, why: str) -> None:
    with pytest.raises(BadWord, match="^" + why.replace("[", r"\[")):
        read(message)
