"""The ledger: what is appended is there whatever happens next, and what is no ledger is not taken for one."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gpuwarden.controller.ledger import Ledger, LedgerError
from gpuwarden.controller.power.foreign_kept import LimitForeign
from gpuwarden.controller.power.limit_heat import LimitHeat
from gpuwarden.controller.remembered import Remembered
from gpuwarden.proto.control_pb2 import Action
from gpuwarden.proto.lease_pb2 import Mode

APPEND_FOR_EVER = """
import sys, itertools
from pathlib import Path
from gpuwarden.controller.ledger import Ledger
from gpuwarden.proto.control_pb2 import Action
ledger = Ledger(Path(sys.argv[1]))
for number in itertools.count():
    ids = ledger.append([Action(kind="cap", subject=f"n{number}").SerializeToString()] * 2, number)
    print(ids[-1], flush=True)
"""


def line(subject: str) -> bytes:
    return Action(kind="cap", subject=subject, reason="why").SerializeToString()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_lines_come_back_with_id_and_time_newest_first(ledger: Ledger) -> None:
    assert ledger.append([line("n0"), line("n1")], 7) == range(1, 3)
    assert ledger.append([line("n2")], 8) == range(3, 4)
    assert [(a.id, a.unix_ns, a.subject, a.reason) for a in ledger.newest(2)] == [(3, 8, "n2", "why"), (2, 7, "n1", "why")]
    assert [a.id for a in ledger.newest(9, below_id=3)] == [2, 1]
    assert [a.id for a in ledger.after(1, 9)] == [2, 3]
    assert ledger.line_count() == 3


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    assert (ledger.line_count(), ledger.epoch(), ledger.remembered(), ledger.newest(9)) == (0, 0, (), [])


def test_what_is_remembered_outlives_the_process(file: Path) -> None:
    first = Ledger(file)
    first.remember_epoch(6)
    first.remember_epoch(7)
    first.remember_domain("row-a", 50e3, Mode.MODE_AUTO)
    first.remember_domain("row-a", 48e3, Mode.MODE_NOTIFY)
    first.set_mirrored(12)
    first.close()
    second = Ledger(file)
    assert (second.epoch(), second.mirrored()) == (7, 12)
    assert second.remembered() == (Remembered("row-a", 48e3, Mode.MODE_NOTIFY),)
    second.close()


def test_a_killed_writer_has_lost_no_line_that_it_told_of(file: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", APPEND_FOR_EVER, file], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(40)]
        os.kill(writer.pid, signal.SIGKILL)
        told += [int(text) for text in writer.stdout.read().splitlines() if text]
        writer.wait()
        writer.stdout.close()
        ledger = Ledger(file)
        newest = ledger.newest(1)[0].id
        assert newest >= told[-1]
        assert newest % 2 == 0, "a transaction is whole or not there"
        assert ledger.line_count() == newest
        ledger.close()


def test_only_the_newest_lines_stay_and_ids_go_on(file: Path) -> None:
    ledger = Ledger(file, kept_lines=10)
    for number in range(25):
        ledger.append([line(f"n{number}")], number)
    assert ledger.line_count() == 10
    assert [a.id for a in ledger.newest(99)] == list(range(25, 15, -1))
    ledger.close()


def test_a_second_controller_is_kept_out_for_as_long_as_the_first_lives(file: Path) -> None:
    first = Ledger(file)
    with pytest.raises(LedgerError, match=rf"another controller \(process {os.getpid()}\) is writing it; only one may run"):
        Ledger(file)
    first.close()
    Ledger(file).close()


def test_readers_in_other_threads_see_whole_transactions_while_lines_are_appended(ledger: Ledger) -> None:
    odd, stop = list[int](), threading.Event()

    def read() -> None:
        while not stop.is_set():
            if len(ledger.newest(1000)) % 5:
                odd.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        ledger.append([line(f"n{number}")] * 5, number)
        ledger.set_mirrored(number)
    stop.set()
    reader.join()
    assert not odd


def test_a_file_that_is_no_database_is_refused_with_its_name(file: Path) -> None:
    file.write_bytes(b"not a database, but long enough to be looked at" * 40)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: .*move it away or bring back a copy"):
        Ledger(file)


def test_a_damaged_ledger_is_refused(file: Path) -> None:
    ledger = Ledger(file)
    ledger.append([line(f"n{i}" * 50) for i in range(500)], 1)
    ledger.close()
    content = bytearray(file.read_bytes())
    content[8192:20000] = os.urandom(20000 - 8192)
    file.write_bytes(content)
    with pytest.raises(LedgerError, match="move it away or bring back a copy"):
        Ledger(file)


def test_another_programs_database_is_left_alone(file: Path) -> None:
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    with pytest.raises(LedgerError, match="is another program's database"):
        Ledger(file)


def test_a_ledger_of_a_newer_version_is_left_alone(file: Path) -> None:
    Ledger(file).close()
    newer = sqlite3.connect(file)
    newer.execute("PRAGMA user_version = 2")
    newer.commit()
    newer.close()
    with pytest.raises(LedgerError, match="has schema 2, this version reads 1"):
        Ledger(file)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"ledger_file .*absent/ledger: cannot create"):
        Ledger(tmp_path / "absent" / "ledger")


def test_the_controllers_id_outlives_a_restart_and_is_another_for_a_copy(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.sqlite")
    id = first.controller_id()
    first.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.controller_id() == id
    again.close()
    shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "copy.sqlite")
    copy, other = Ledger(tmp_path / "copy.sqlite"), Ledger(tmp_path / "other.sqlite")
    assert len({id, copy.controller_id(), other.controller_id()}) == 3
    copy.close()
    other.close()


@pytest.mark.parametrize("text", [None, "", "\n", "uninitialized\n"])
def test_where_the_machine_has_no_id_its_name_tells_copies_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """As in containers, where copies also lie at the same path."""
    machine_id = tmp_path / "machine-id"
    if text is not None:
        machine_id.write_text(text)
    monkeypatch.setattr("gpuwarden.controller.ledger._MACHINE_ID", machine_id)
    ledger, ids = Ledger(tmp_path / "ledger.sqlite"), set()
    for host in ("pod-0", "pod-1", "pod-0"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        ids.add(ledger.controller_id())
    ledger.close()
    assert len(ids) == 2


def test_heat_is_remembered_of_the_newest_epoch_only(file: Path) -> None:
    """A limit that it did not know, or a version that kept none, may have let it warm since."""
    ledger = Ledger(file)
    ledger.remember_epoch(6)
    old, new = LimitHeat("row-a", "rack-1", 50e3, 11.0, 2.5, 3.0), LimitHeat("row-a", "row-a", 90e3, 11.0, 1.0, 2.0)
    ledger.remember_heats((old, LimitHeat("row-a", "row-a", 90e3, 11.0, 8.0, 9.0)))
    assert len(ledger.heats()) == 2
    ledger.remember_epoch(7)
    assert ledger.heats() == ()
    ledger.remember_heats((new,))
    ledger.close()
    again = Ledger(file)
    assert again.heats() == (new,)
    again.close()


def test_foreign_load_outlives_its_epoch(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.remember_foreign((LimitForeign("row-a", "rack-1", 6e3), LimitForeign("row-a", "row-a", 1e3)))
    ledger.remember_foreign((LimitForeign("row-a", "rack-1", 7e3),))
    ledger.remember_epoch(9)
    ledger.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.foreign() == (LimitForeign("row-a", "rack-1", 7e3), LimitForeign("row-a", "row-a", 1e3))
    again.close()
