"""The socket of ranks: words in order, the end of a connection, and callers that say nonsense."""

import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.rank_word import word
from prometheus_client import Counter

from gpuwarden.agent.collectors.ranks import open as open_ranks
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.rank_socket import LOST, MOST_A_SECOND, REFUSED, Heard, RankSocket
from gpuwarden.agent.rank_words import MOST_BYTES
from gpuwarden.agent.reading import CommReading, JobPhase, Progress, ProgressReading, RankEnd, Unsupported
from gpuwarden.cli.torchrun import HOOK


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[RankSocket]:
    made = RankSocket(tmp_path / "ranks.sock")
    yield made
    made.close()


def caller(tmp_path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.connect(str(tmp_path / "ranks.sock"))
    return made


def heard(listening: RankSocket, count: int) -> list[Heard]:
    words, until_s = list[Heard](), time.monotonic() + 10
    while len(words) < count and time.monotonic() < until_s:
        words += listening.take()
        time.sleep(0.01)
    return words


def total(counter: Counter) -> float:
    value: float = counter._value.get()
    return value


def test_a_connection_that_ends_without_a_word_is_told_after_its_words(listening: RankSocket, tmp_path: Path) -> None:
    with caller(tmp_path) as rank:
        rank.send(json.dumps(word(number=1)).encode())
        rank.send(json.dumps(word(number=2)).encode())
    words = heard(listening, 3)
    assert [one.word.end for one in words] == [RankEnd.RUNS, RankEnd.RUNS, RankEnd.SILENT]
    assert {one.pid for one in words} == {os.getpid()}
    assert words[0].at_s <= words[1].at_s <= words[2].at_s


def test_who_took_leave_is_not_told_to_be_gone_as_well(listening: RankSocket, tmp_path: Path) -> None:
    with caller(tmp_path) as rank:
        rank.send(json.dumps(word(number=1, end="raised", why="ValueError: no")).encode())
    (only,) = heard(listening, 1)
    time.sleep(0.2)
    assert (only.word.end, only.word.why, listening.take()) == (RankEnd.RAISED, "ValueError: no", [])


def test_nonsense_is_refused_and_counted_and_the_caller_is_heard_on(listening: RankSocket, tmp_path: Path) -> None:
    refused, lost = total(REFUSED), total(LOST)
    with caller(tmp_path) as rank:
        rank.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MOST_BYTES)
        rank.send(b"\x80\x04cos\nsystem\n")
        rank.send(b" " * (MOST_BYTES + 10))
        rank.send(json.dumps(word(number=5)).encode())
        (said,) = heard(listening, 1)
    assert (said.word.number, total(REFUSED) - refused, total(LOST) - lost) == (5, 2, 4)


def test_a_caller_that_floods_is_cut_off_and_others_are_heard(listening: RankSocket, tmp_path: Path) -> None:
    with caller(tmp_path) as flood, caller(tmp_path) as rank:
        with pytest.raises(OSError):
            for number in range(1, 100_000):
                flood.send(json.dumps(word(number=number)).encode())
        rank.send(json.dumps(word(number=1, job="other")).encode())
        words = heard(listening, MOST_A_SECOND + 2)
    assert [one.word.job for one in words[-2:]] == ["42", "other"] and words[-2].word.end is RankEnd.SILENT


def test_the_collector_names_job_and_process_or_says_why_it_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="there is no rank_socket"):
        open_ranks(AgentConfig())
    with pytest.raises(Unsupported, match="No such file or directory"):
        open_ranks(AgentConfig(rank_socket=tmp_path / "absent" / "ranks.sock"))
    ranks = open_ranks(AgentConfig(rank_socket=tmp_path / "ranks.sock"))
    with caller(tmp_path) as rank:
        rank.send(json.dumps(word(number=1)).encode())
        until_s = time.monotonic() + 10
        while not (told := ranks.collect().comm) and time.monotonic() < until_s:
            time.sleep(0.01)
    ranks.close()
    assert [(one.job, one.rank, one.pid) for one in told] == [("42", 1, os.getpid())]
    assert not (tmp_path / "ranks.sock").exists()


def test_a_script_that_tells_of_its_progress_is_no_rank_and_its_end_is_told(tmp_path: Path) -> None:
    ranks = open_ranks(AgentConfig(rank_socket=tmp_path / "ranks.sock"))
    code = "from gpuwarden_progress import tell\nfor step in range(100): tell(step, 2.5, 1.0)\ntell(99, float('nan'))\ntell(99, phase='checkpoint')"
    environment = {**os.environ, "PYTHONPATH": str(HOOK), "GPUWARDEN_RANK_SOCKET": str(tmp_path / "ranks.sock"), "RANK": "3", "WORLD_SIZE": "8", "SLURM_JOB_ID": "77"}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
    told, until_s = list[CommReading](), time.monotonic() + 10
    while len(told) < 4 and time.monotonic() < until_s:
        told += ranks.collect().comm
        time.sleep(0.01)
    ranks.close()
    first, no_number, pause, gone = (one for one in told if isinstance(one, ProgressReading))
    assert (first.job, first.progress, first.ended) == ("77", Progress(3, 0, 2.5, 1.0, JobPhase.TRAINING), False)
    assert math.isnan(no_number.progress.loss or 0.0)
    assert pause.progress == Progress(3, 99, None, None, JobPhase.CHECKPOINT)
    assert gone.ended and len(told) == 4


def test_what_a_training_script_has_to_have_is_short() -> None:
    assert (HOOK / "gpuwarden_progress.py").read_text().count("\n") <= 20
