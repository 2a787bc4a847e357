"""Logs that grow: whole lines once, whatever happens to their files."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwarden.agent.tail import BEHIND_BYTES, PASS_BYTES, SKIPPED, Tail


@pytest.fixture
def tail() -> Iterator[Tail]:
    made = Tail(1000)
    list(made.grown(()))  # its first look
    yield made
    made.close()


def lines(tail: Tail, *files: Path) -> list[bytes]:
    return [line for grown in tail.grown(files) for line in grown.lines]


def test_a_line_comes_when_it_is_whole_and_once(tail: Tail, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"one\ntw")
    assert lines(tail, log) == [b"one"]
    with log.open("ab") as opened:
        opened.write(b"o\nthree")
    assert lines(tail, log) == [b"two"]
    assert lines(tail, log) == []


def test_what_was_there_before_the_first_look_is_not_read_nor_is_the_rest_of_a_line_of_then(tmp_path: Path) -> None:
    log, tail = tmp_path / "a.log", Tail(1000)
    log.write_bytes(b"old\nol")
    assert lines(tail, log) == []
    with log.open("ab") as opened:
        opened.write(b"d too\nnew\n")
    assert lines(tail, log) == [b"new"]
    tail.close()


def test_a_log_that_was_moved_away_is_read_to_its_end_and_the_new_one_from_its_beginning(tail: Tail, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    assert lines(tail, log) == [b"one"]
    with log.open("ab") as still_open:
        log.rename(tmp_path / "a.log.1")
        still_open.write(b"two\n")
        log.write_bytes(b"three\n")
        still_open.flush()
        assert lines(tail, log) == [b"two", b"three"]


def test_a_log_that_is_begun_anew_is_read_from_its_beginning(tail: Tail, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"long one\nand a p")
    assert lines(tail, log) == [b"long one"]
    log.write_bytes(b"new\n")  # the same inode
    assert lines(tail, log) == [b"new"]


def test_a_line_of_a_hundred_megabytes_is_left_out_in_bounded_memory_and_what_follows_is_read(tail: Tail, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    assert lines(tail, log) == [b"one"]
    os.truncate(log, 100 << 20)
    skipped, too_long = SKIPPED._value.get(), 0
    with log.open("ab") as opened:
        opened.write(b"\ntwo\n")
    for _ in range(3):
        for grown in tail.grown([log]):
            too_long += grown.too_long
    assert SKIPPED._value.get() - skipped >= BEHIND_BYTES
    with log.open("ab") as opened:
        opened.write(b"x" * (2 * PASS_BYTES) + b"\nthree\n")
    came = [lines(tail, log) for _ in range(4)]
    assert [line for one in came for line in one][-1] == b"three"


def test_a_file_with_much_to_read_does_not_keep_the_others_waiting(tail: Tail, tmp_path: Path) -> None:
    many, few = tmp_path / "a.log", tmp_path / "b.log"
    many.write_bytes(b"much\n" * (PASS_BYTES // 2))
    few.write_bytes(b"few\n")
    assert lines(tail, many, few)[-1] == b"few"
    assert sum(len(lines(tail, many, few)) for _ in range(5)) > PASS_BYTES // 4


def test_links_and_pipes_are_not_followed(tail: Tail, tmp_path: Path) -> None:
    secret, link, pipe = tmp_path / "secret", tmp_path / "a.log", tmp_path / "b.log"
    secret.write_bytes(b"secret\n")
    link.symlink_to(secret)
    os.mkfifo(pipe)
    assert lines(tail, link, pipe, tmp_path / "none.log") == []


def test_a_log_that_has_gone_is_let_go(tail: Tail, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    assert lines(tail, log) == [b"one"]
    log.unlink()
    assert lines(tail) == []
    assert not [name for name in os.listdir("/proc/self/fd") if "a.log" in os.path.realpath(f"/proc/self/fd/{name}")]
