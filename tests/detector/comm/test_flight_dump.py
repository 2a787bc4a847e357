"""Dumps come from machines that are not ours, out of a job that has failed: what is not plain and whole is refused with the field and the reason."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.core.nccl.fields import Bad
from gpuwarden.detector.comm import flight_dump
from gpuwarden.detector.comm.flight_dump import Counts, Group, read
from gpuwarden.detector.comm.flight_folder import dumps_in

WORLD = {"name": "0", "desc": "default_pg", "ranks": "[0, 1]"}


def entry(**other: object) -> dict[str, Any]:
    return {
        "record_id": 7, "pg_id": 0, "process_group": ("0", "default_pg"), "collective_seq_id": 5, "p2p_seq_id": 0, "op_id": 5,
        "profiling_name": "nccl:all_reduce", "time_created_ns": 10, "state": "scheduled", "retired": False, "is_p2p": False, **other,
    }  # fmt: skip


def dump(*entries: dict[str, Any], **other: object) -> dict[str, Any]:
    status = {"0": {"last_enqueued_collective": 5, "last_started_collective": -1, "last_completed_collective": 4}}
    return {"version": "2.9", "nccl_version": "2.27.3", "pg_config": {"0": WORLD}, "pg_status": status, "entries": list(entries), **other}


@pytest.mark.parametrize("form", [pickle.dumps, lambda whole: json.dumps(whole).encode()])
def test_what_is_pending_and_how_much_is_done(form: Callable[[object], bytes]) -> None:
    group = Group("default_pg", (0, 1))
    send = entry(record_id=3, op_id=9, profiling_name="nccl:send 1->0", is_p2p=True)
    found = read(form(dump(entry(), send, entry(record_id=1, retired=True), entry(record_id=2, state="completed"))))
    assert found.counts == {group: Counts(asked=5, done=4)}
    assert [(one.order, one.name, one.peer, one.number) for one in found.pending] == [(3, "send 1->0", 0, 9), (7, "all_reduce", None, 5)]


def test_numbers_that_json_writes_as_words_are_numbers() -> None:
    status = {"0": {"last_enqueued_collective": "5", "last_started_collective": "-1", "last_completed_collective": "4"}}
    assert read(json.dumps(dump(pg_status=status)).encode()).counts == {Group("default_pg", (0, 1)): Counts(5, 4)}


def test_a_group_whose_number_cannot_be_told_has_no_counts() -> None:
    other = {"1": {"name": "1", "desc": "pairs", "ranks": "[0, 1]"}, "0": WORLD}
    assert read(pickle.dumps(dump(pg_config=other))).counts == {}
    assert list(read(pickle.dumps(dump(entry(), pg_config=other))).counts) == [Group("default_pg", (0, 1))]


RECORDED = Path(__file__).parents[2] / "recorded" / "nccl-2.28.9"


@pytest.mark.parametrize("name", ["pending_all.pickle", "pending_active.pickle", "pending.json"])
def test_what_a_real_nccl_left_while_it_worked(name: str) -> None:
    found, world, tensor = read((RECORDED / name).read_bytes()), Group("default_pg", (0,)), Group("tensor", (0,))
    assert [(one.group, one.said) for one in found.pending] == [(world, "all_reduce 7"), (world, "_all_gather_base 8"), (tensor, "all_reduce 6")]
    assert found.counts == {world: Counts(8, 6), tensor: Counts(6, 5)}
    assert found.library == "2.28.9"


def test_what_a_real_nccl_left_when_it_was_done() -> None:
    found = read((RECORDED / "done_all.pickle").read_bytes())
    assert found.pending == ()
    assert set(found.counts.values()) == {Counts(8, 8), Counts(6, 6)}


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/gpuwarden-was-here",)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (pickle.dumps(Hostile()), r"pickle: asks for (posix|nt)\.system; a dump holds plain values only"),
        (pickle.dumps(dump(extra=Path("x"))), r"pickle: asks for pathlib\."),
        (pickle.dumps(dump())[:-20], "file: is neither a whole pickle nor JSON"),
        (b"", "file: is neither a whole pickle nor JSON"),
        (b"[" * 100_000, "file: is neither a whole pickle nor JSON"),
        (pickle.dumps([1]), "file: is a list, should be a mapping"),
        (pickle.dumps(dump(version="3.0")), r"version: is '3\.0', this reader knows 2\.x"),
        (pickle.dumps(dump(version=None)), "version: is None"),
        (pickle.dumps(dump(pg_config=None)), "pg_config: is a NoneType, should be a mapping"),
        (pickle.dumps(dump(pg_config={"0": {"desc": "x", "ranks": "0, 1"}})), r"pg_config\.0\.ranks: is '0, 1', should be such as"),
        (pickle.dumps(dump(pg_config={"0": {"desc": "x", "ranks": "[0, 0]"}})), r"pg_config\.0\.ranks: has a rank twice"),
        (pickle.dumps(dump(pg_config={"0": {"desc": "x", "ranks": [-1]}})), r"pg_config\.0\.ranks: is \[-1\], should be a list of ranks"),
        (pickle.dumps(dump(entries=3)), "entries: is a int, should be a list"),
        (pickle.dumps(dump(3)), r"entries\[0\]: is a int, should be a mapping"),
        (pickle.dumps(dump(entry(process_group=("9", "y")))), r"entries\[0\]\.process_group: .* should name one of pg_config"),
        (pickle.dumps(dump(entry(record_id="x"))), r"entries\[0\]\.record_id: is 'x', should be a whole number"),
        (pickle.dumps(dump(entry(is_p2p=True, profiling_name="nccl:send 0->7"))), r"entries\[0\]\.profiling_name: is 'nccl:send 0->7'"),
        (pickle.dumps(dump(pg_status={"0": {}})), r"pg_status\.0\.last_enqueued_collective: is None, should be a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_field_and_the_reason(payload: bytes, says: str) -> None:
    with pytest.raises(Bad, match=says):
        read(payload)
    assert not Path("/tmp/gpuwarden-was-here").exists()


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_dump, "MOST_BYTES", 100)
    with pytest.raises(Bad, match=r"file: has \d+ bytes, at most 100 are read"):
        read(pickle.dumps(dump(entry())))


@settings(max_examples=300)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_file_is_read_or_refused_and_does_nothing_else(at: int, instead: bytes, as_json: bool) -> None:
    whole = json.dumps(dump(entry())).encode() if as_json else pickle.dumps(dump(entry()))
    at %= len(whole)
    try:
        read(whole[:at] + instead + whole[at + len(instead) :])
    except Bad as why:
        assert str(why)


def test_a_folder_says_which_file_it_could_not_read_and_who_left_none(tmp_path: Path) -> None:
    world = {"0": {**WORLD, "ranks": "[0, 1, 2, 3]"}}
    (tmp_path / "_dump_0").write_bytes(pickle.dumps(dump(pg_config=world)))
    (tmp_path / "nccl_trace_rank_0").write_bytes(pickle.dumps(dump(pg_config=world)))
    (tmp_path / "comm_lib_trace_rank_1.json").write_bytes(b"{}")
    (tmp_path / "_dump_9").write_bytes(pickle.dumps(dump(pg_config=world)))
    (tmp_path / "notes.txt").write_text("not a dump")
    found = dumps_in(tmp_path)
    assert set(found.by_rank) == {0}
    assert found.missing == [1, 2, 3]
    assert found.refused == {
        "_dump_9": "pg_config: 'default_pg' is of ranks (0, 1, 2, 3), and not of rank 9, whose dump this is by its name",
        "comm_lib_trace_rank_1.json": "version: is None, this reader knows 2.x",
        "nccl_trace_rank_0": "file: is a second one of rank 0",
    }
