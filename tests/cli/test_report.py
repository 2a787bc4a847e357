"""`gpuwarden report`, as its user meets it."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.worked_node import EPOCH_NS, WorkedNode
from services import kafka

from gpuwarden.cli.main import main
from gpuwarden.controller.ledger import Ledger
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.core.connect import connect
from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.proto import topics
from gpuwarden.proto.control_pb2 import Action
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Subject, SubjectKind

FIRING, RESOLVED = FindingState.FINDING_STATE_FIRING, FindingState.FINDING_STATE_RESOLVED
RANK, JOB, GPU = SubjectKind.SUBJECT_KIND_RANK, SubjectKind.SUBJECT_KIND_JOB, SubjectKind.SUBJECT_KIND_GPU


def finding(kind: str, since_s: float, said_s: float, subject: Subject, state: "FindingState.ValueType" = FIRING) -> bytes:
    since_ns, said_ns = (EPOCH_NS + round(one * 1e9) for one in (since_s, said_s))
    return Finding(
        version=1, id=f"{kind}@{since_s}", kind=kind, subject=subject, state=state, since_unix_ns=since_ns, updated_unix_ns=said_ns
    ).SerializeToString()  # fmt: skip


HUNG = Subject(kind=RANK, node="gpu01", id="71/3")
SAID = (
    finding("rank_hang", 290.0, 308.0, HUNG),
    finding("job_hang", 295.0, 310.0, Subject(kind=JOB, node="gpu00", id="71")),
    finding("rank_hang", 290.0, 400.0, HUNG, RESOLVED),
    finding("job_hang", 295.0, 400.0, Subject(kind=JOB, node="gpu00", id="71"), RESOLVED),
    finding("job_hang", 5000.0, 5020.0, Subject(kind=JOB, node="gpu00", id="72")),
    finding("xid_79", 280.0, 281.0, Subject(kind=GPU, node="gpu01", id="GPU-3")),
)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A job that is on its cards for 300 s, away for 200 s, back for 300 s, away for 120 s, back for 80 s."""
    node, recorder = WorkedNode(cards=1), Recorder(Parquet(tmp_path / "history"))
    payloads = list[bytes]()
    for runs, seconds in ((True, 300), (False, 200), (True, 300), (False, 120), (True, 80)):
        node.jobs.clear()
        if runs:
            node.run(0, "71", user="ada")
        payloads += node.passes(seconds)
    for offset, payload in enumerate(payloads):
        recorder.take(0, offset, payload)
    recorder.flush()
    return tmp_path / "history"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    book = Ledger(tmp_path / "ledger")
    lines = [Action(kind="drain", subject="gpu01", performed=True), Action(kind="requeue", subject="job 71", performed=True), Action(kind="drain", subject="gpu02")]
    book.append([line.SerializeToString() for line in lines], EPOCH_NS + 310 * 10**9)
    book.close()
    return tmp_path / "ledger"


def published(monkeypatch: pytest.MonkeyPatch, payloads: Sequence[bytes]) -> None:
    bus = MemoryBus()
    for payload in payloads:
        bus.producer().send(topics.FINDINGS, "key", payload)
    monkeypatch.setattr("gpuwarden.core.left_firing.FIRST_POLL_S", 0.1)
    monkeypatch.setattr("gpuwarden.core.left_firing.NEXT_POLL_S", 0.1)
    monkeypatch.setattr("gpuwarden.core.connect.connect", lambda *_, **__: bus)


def asked(capsys: pytest.CaptureFixture[str], *options: object) -> dict[str, Any]:
    assert main(["report", "--json", *map(str, options)]) == 0
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    return made


def test_what_a_job_lost_is_found_from_all_three(history: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    published(monkeypatch, SAID)
    made = asked(capsys, "--bootstrap", "127.0.0.1:1", "--ledger", ledger, "--history", history)
    assert made["localised"] == {"times": 2, "named": 1, "ratio": 0.5}  # the two findings of job 71 are one trouble
    (job,) = made["jobs"]
    assert (job["job_id"], job["user"], job["away"], job["away_with_a_finding"], job["requeued_by_us"]) == ("71", "ada", 2, 1, 1)
    assert job["detection_s"] == pytest.approx(18.0)
    assert job["diagnosis_isolation_s"] == pytest.approx(500.0 - 308.0, abs=6.0)
    assert job["unexplained_s"] == pytest.approx(120.0, abs=6.0)
    assert job["goodput_most_ratio"] == pytest.approx(1 - (18 + 192 + 120) / 1000, abs=0.02)
    assert (job["post_checkpoint_s"], job["reinit_s"]) == (None, None) and made["not_recorded"].keys() == {"post_checkpoint", "reinit"}
    assert made["acts"]["drain"] == {"done": 1, "would_have": 1} and made["acts"]["requeue"] == {"done": 1, "would_have": 0}


def test_the_text_says_it_in_tables(history: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    published(monkeypatch, SAID)
    assert main(["report", "--bootstrap", "127.0.0.1:1", "--ledger", str(ledger), "--history", str(history)]) == 0
    told = capsys.readouterr().out
    rows = [line.split() for line in told.splitlines()]
    assert ["job_hang", "2", "1", "-"] in rows and ["gpu01", "2", "1", "rank_hang,", "xid_79"] in rows
    assert "somebody was named 1 times: 50 % localised" in told
    assert ["drain", "1", "1"] in rows
    assert "Not recorded yet" in told and "no finding says why" in told


def test_a_source_that_is_not_named_is_said_and_not_guessed(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--ledger", str(ledger)]) == 0
    told = capsys.readouterr().out
    assert "Faults: not asked for" in told and "Jobs: not asked for" in told
    assert asked(capsys, "--ledger", ledger)["jobs"] is None


def test_an_empty_time_is_said(history: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    published(monkeypatch, SAID)
    assert main(["report", "--bootstrap", "127.0.0.1:1", "--ledger", str(ledger), "--history", str(history), "--since", "2030-01-01"]) == 0
    told = capsys.readouterr().out
    for says in ("no finding that began in that time", "no line of isolating", "has none with an id in that time", "cannot be told"):
        assert says in told


def test_what_is_no_finding_is_left_out_with_its_field(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = finding("rank_hang", 1.0, 2.0, Subject(kind=RANK, node="", id="71/3"))
    published(monkeypatch, (b"\xff\xff", nobody, finding("xid_79", 1.0, 2.0, Subject(kind=GPU, node="\x1b[2J", id="GPU-3"))))
    assert main(["report", "--bootstrap", "127.0.0.1:1"]) == 0
    told = capsys.readouterr().out
    assert "left out: subject.node: is empty" in told and "left out: Error parsing" in told and "\x1b" not in told


def test_from_the_first_to_the_last_record_of_real_brokers(kafka_broker: kafka.Broker, capsys: pytest.CaptureFixture[str]) -> None:
    producer = connect(BusConfig(bootstrap=(kafka_broker.bootstrap,)), wanted=(topics.FINDINGS,)).producer()
    in_2031_s = 8 * 365.25 * 86_400.0  # the broker is everybody's
    for after_s in range(5):
        producer.send(topics.FINDINGS, f"report/{after_s}", finding("xid_79", in_2031_s + after_s, in_2031_s + after_s, HUNG))
    producer.close()
    made = asked(capsys, "--bootstrap", kafka_broker.bootstrap, "--since", "2031-11-01", "--until", "2031-12-01")
    assert [one["since_unix_s"] - EPOCH_NS / 1e9 - in_2031_s for one in made["faults"]] == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "--bootstrap, --ledger, --history: one at least"),
        (("--ledger", "/nowhere"), "/nowhere: is no file"),
        (("--history", "/nowhere"), "--history: /nowhere is not a folder"),
        (("--history", "/", "--since", "2023-11-15", "--until", "2023-11-14"), "--until: should be later than --since"),
        (("--bootstrap", "127.0.0.1:1", "--wait-s", "0.1"), "--bootstrap: 127.0.0.1:1: stopped while waiting for Kafka"),
    ],
)
def test_what_cannot_be_is_named(options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *options]) == 2
    assert says in capsys.readouterr().err


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path, ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("nothing of the kind, and longer than the header of a database has to be, which is a hundred bytes\n" * 20)
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE line (id INTEGER)")
    with sqlite3.connect(ledger) as spoilt:
        spoilt.execute("UPDATE line SET payload = x'ffff' WHERE id = 2")
    for name, says in (("text", "not a database"), ("other", "is another program's database"), ("ledger", "line 2: payload")):
        assert main(["report", "--ledger", str(tmp_path / name)]) == 2
        assert says in capsys.readouterr().err


def test_the_ledger_of_a_running_controller_is_read(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = Ledger(ledger)
    book.append([Action(kind="requeue", subject="job 9", performed=True).SerializeToString()], EPOCH_NS)
    assert asked(capsys, "--ledger", ledger)["acts"]["requeue"]["done"] == 2
    book.close()


def test_a_gap_that_nobody_recorded_is_no_gap_of_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node, recorder = WorkedNode(cards=1), Recorder(Parquet(tmp_path / "history"))
    node.run(0, "71")
    payloads = node.passes(100)
    node.work(3000.0)
    for offset, payload in enumerate((*payloads, *node.passes(100))):
        recorder.take(0, offset, payload)
    recorder.flush()
    (job,) = asked(capsys, "--history", tmp_path / "history")["jobs"]
    assert (job["away"], job["goodput_most_ratio"]) == (0, 1.0)
