"""The spool keeps what is not acknowledged: bounded, in order, over restarts, damaged files and full disks."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.agent.spool import DROPPED, Spool
from gpuwarden.agent.telemetry import events_only
from gpuwarden.proto.telemetry_pb2 import DeviceEvent, Telemetry

RECORD_BYTES = 100


def record(number: int) -> bytes:
    """Readings that fill it up to RECORD_BYTES, and an event."""
    made = Telemetry(node=f"{number:04}", events=[DeviceEvent(code=number + 1)])
    made.blocks.add(values=bytes(RECORD_BYTES - made.ByteSize() - 4))
    assert made.ByteSize() == RECORD_BYTES
    return made.SerializeToString()


def number_of(payload: bytes) -> int:
    return int(Telemetry.FromString(payload).node)


def room_for(records: int) -> int:
    return RECORD_BYTES * records


def drained(spool: Spool) -> list[int]:
    """Takes and acknowledges all there is."""
    taken = []
    while (kept := spool.take(0.0)) is not None:
        taken.append(number_of(kept.payload))
        spool.done(kept.id)
    return taken


def dropped(events: str) -> float:
    value: float = DROPPED.labels(events)._value.get()
    return value


def test_a_page_shows_drops_at_zero_before_there_are_any() -> None:
    shown = "import gpuwarden.agent.spool, prometheus_client; print(prometheus_client.generate_latest().decode())"
    page = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True, timeout=30).stdout
    for events in ("yes", "no"):
        assert f'gpuwarden_agent_spool_dropped_total{{events="{events}"}} 0.0' in page


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "spool.sqlite" if request.param == "file" else None


def test_records_leave_in_the_order_in_which_they_came(path: Path | None) -> None:
    spool = Spool(path, room_for(10))
    for number in range(5):
        spool.put(record(number), False)
    assert drained(spool) == [0, 1, 2, 3, 4]
    assert len(spool) == 0


def test_a_full_spool_drops_the_oldest_and_counts_it(path: Path | None) -> None:
    spool, before = Spool(path, room_for(3)), dropped("no")
    for number in range(10):
        spool.put(record(number), False)
    assert drained(spool) == [7, 8, 9]
    assert dropped("no") - before == 7


def test_device_events_outlive_all_readings_their_own_included(path: Path | None) -> None:
    spool, before = Spool(path, room_for(3)), dropped("no")
    for number in range(50):
        spool.put(record(number), number % 10 == 0)
    told = {}
    while (kept := spool.take(0.0)) is not None:
        told[number_of(kept.payload)] = Telemetry.FromString(kept.payload)
        spool.done(kept.id)
    assert {0, 10, 20, 30, 40, 49} <= told.keys()
    assert [told[number].events[0].code for number in (0, 10, 20, 30, 40)] == [1, 11, 21, 31, 41]
    assert not told[0].blocks and told[49].blocks
    assert dropped("no") - before >= 44


def test_when_events_alone_fill_it_the_bound_still_holds_and_the_loss_is_counted_apart(path: Path | None) -> None:
    room = 3 * len(events_only(record(1)))
    spool, before = Spool(path, room), dropped("yes")
    for number in range(5):
        spool.put(record(number), True)
    assert drained(spool) == [2, 3, 4]
    assert dropped("yes") - before == 2


def test_after_a_failure_it_goes_on_from_there_without_what_was_acknowledged(path: Path | None) -> None:
    spool = Spool(path, room_for(10))
    for number in range(4):
        spool.put(record(number), False)
    taken = [spool.take(0.0) for _ in range(4)]
    ids = [kept.id for kept in taken if kept is not None]
    spool.done(ids[2])
    spool.again(ids[3])
    spool.again(ids[1])
    assert drained(spool) == [1, 3]
    assert len(spool) == 1, "the first is under way still"


def test_what_was_dropped_while_under_way_is_not_counted_as_acknowledged(path: Path | None) -> None:
    spool, before = Spool(path, room_for(3)), dropped("no")
    for number in range(3):
        spool.put(record(number), False)
    taken = [spool.take(0.0) for _ in range(3)]
    for number in range(3, 7):
        spool.put(record(number), False)
    for kept in taken:
        assert kept is not None
        spool.done(kept.id)
        assert len(spool) == 3
    assert dropped("no") - before == 4
    assert drained(spool) == [4, 5, 6]


def test_what_is_acknowledged_makes_room_and_is_no_loss(tmp_path: Path) -> None:
    spool, before = Spool(tmp_path / "spool.sqlite", room_for(3)), dropped("no")
    for number in range(3):
        spool.put(record(number), False)
    taken = [spool.take(0.0) for _ in range(3)]
    for kept in taken:
        assert kept is not None
        spool.done(kept.id)
    spool.put(record(3), False)
    assert dropped("no") == before
    assert drained(spool) == [3]


@given(st.lists(st.tuples(st.sampled_from(["put", "event", "take", "done", "again"]), st.integers(0, 30)), max_size=60))
def test_nothing_is_passed_over_whatever_fails_and_in_whatever_order(script: list[tuple[str, int]]) -> None:
    spool = Spool(None, room_for(1000))
    put, under_way, done = 0, dict[int, int](), set[int]()
    for what, pick in [*script, *[("take", 0)] * 5]:
        match what:
            case "put" | "event":
                spool.put(record(put), what == "event")
                put += 1
            case "take":
                if (kept := spool.take(0.0)) is not None:
                    assert not any(known < kept.id and known not in under_way for known in range(1, kept.id) if known - 1 not in done)
                    under_way[kept.id] = number_of(kept.payload)
            case _ if under_way:
                id = sorted(under_way)[pick % len(under_way)]
                number = under_way.pop(id)
                if what == "done":
                    spool.done(id)
                    done.add(number)
                else:
                    for later in [known for known in under_way if known > id]:
                        del under_way[later]
                    spool.again(id)
    for id in under_way:
        spool.again(id)
    assert set(drained(spool)) | done == set(range(put))
    assert len(spool) == 0


def test_what_is_not_acknowledged_is_there_after_a_restart_and_comes_before_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    spool = Spool(path, room_for(10))
    for number in range(5):
        spool.put(record(number), False)
    first = spool.take(0.0)
    assert first is not None
    spool.done(first.id)
    spool.close()
    again = Spool(path, room_for(10))
    again.put(record(5), False)
    assert drained(again) == [1, 2, 3, 4, 5]


KILLED = """
import os, signal, sys
from pathlib import Path
from gpuwarden.agent.spool import Spool
from gpuwarden.proto.telemetry_pb2 import Telemetry
spool = Spool(Path(sys.argv[1]), 1 << 20)
for number in range(200):
    spool.put(Telemetry(node=str(number)).SerializeToString(), False)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_nothing_that_was_put(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert drained(Spool(path, 1 << 20)) == list(range(200))


def test_a_file_cut_in_half_costs_what_was_behind_the_cut_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "spool.sqlite"
    spool = Spool(path, 1 << 30)
    for number in range(2000):
        spool.put(record(number), False)
    spool.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    spool = Spool(path, 1 << 30)
    spool.put(record(2000), False)
    got = drained(spool)
    assert got == sorted(got) and got[-1] == 2000
    assert 100 < len(got) < 2000, f"{len(got)} of 2000"
    (said,) = [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()]
    assert "spool_file" in said and f"{len(got) - 1} records are saved" in said
    assert path.with_name("spool.sqlite.damaged").exists()


def test_a_file_of_something_else_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "spool.sqlite"
    path.write_text("not a database, and long enough to be looked at\n" * 100)
    spool = Spool(path, 1 << 20)
    spool.put(record(1), False)
    assert drained(spool) == [1] and spool.survives
    assert "0 records are saved" in caplog.text


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from gpuwarden.agent.spool import Spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path(sys.argv[1]), 1 << 30)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
for number in range(5000):
    spool.put(b"%d:" % number + b"x" * 200, False)
assert not spool.survives
taken = []
while (kept := spool.take(0.0)) is not None:
    taken.append(int(kept.payload.partition(b":")[0]))
    spool.done(kept.id)
    assert len(spool) == 5000 - len(taken)
    if len(taken) == int(sys.argv[2]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert taken == list(range(5000)), (len(taken), taken[:3], taken[-3:])
spool.put(b"5000:", False)
assert spool.survives, "the file is used again"
spool.close()
again = Spool(Path(sys.argv[1]), 1 << 30)
assert len(again) == 1, len(again)
"""


@pytest.mark.parametrize("room_after", [1000, 5000])
def test_on_a_full_disk_telemetry_waits_in_memory_and_then_goes_on_in_order(room_after: int, tmp_path: Path) -> None:
    """Whether there is room again while the file's records leave, or only once all that waits in memory has left too."""
    words = [sys.executable, "-c", FULL_DISK, str(tmp_path / "spool.sqlite"), str(room_after)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "spool_file: " in done.stderr and "waits in memory" in done.stderr


def test_a_folder_that_may_not_be_written_is_said_and_memory_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "spool.sqlite", 1 << 20)
    spool.put(record(1), False)
    assert drained(spool) == [1] and not spool.survives
    assert "spool_file" in caplog.text
