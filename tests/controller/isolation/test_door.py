"""What comes from outside: findings, and what an earlier controller has kept."""

import json

import pytest
from scenarios.story import Telling, stories

from gpuwarden.controller.isolation.door import kept, record_of, signal_of
from gpuwarden.controller.isolation.records import Numbers
from gpuwarden.controller.isolation.signals import Scope
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Subject, SubjectKind


def finding(kind: "SubjectKind.ValueType", node: str = "n1", id: str = "GPU-0", state: int = FindingState.FINDING_STATE_FIRING) -> Finding:
    subject = Subject(kind=kind, node=node, id=id)
    return Finding(
        version=1, id="f1", kind="xid_79", subject=subject, state=FindingState.ValueType(state), since_unix_ns=5_000_000_000,
        summary="s" * 9000, suggested_action="Reboot the node.",
    )


def test_a_finding_becomes_evidence() -> None:
    signal = signal_of(finding(SubjectKind.SUBJECT_KIND_GPU))
    assert (signal.node, signal.scope, signal.part, signal.firing, signal.since_s) == ("n1", Scope.GPU, "GPU-0", True, 5.0)
    assert (len(signal.summary), signal.advice) == (400, "Reboot the node.")
    assert signal_of(finding(SubjectKind.SUBJECT_KIND_JOB, node="", id="7")).job == "7"


@pytest.mark.parametrize(("bad", "said"), [
    (finding(SubjectKind.SUBJECT_KIND_UNSPECIFIED), "subject.kind: is 0"),
    (finding(SubjectKind.SUBJECT_KIND_GPU, node=""), "subject.node: is empty"),
    (finding(SubjectKind.SUBJECT_KIND_NIC, id=""), "subject.id: is empty"),
    (finding(SubjectKind.SUBJECT_KIND_GPU, state=0), "state: is 0"),
])
def test_one_that_accuses_nobody_is_refused_with_the_field(bad: Finding, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        signal_of(bad)


def test_what_a_story_keeps_comes_back_as_it_was() -> None:
    telling = Telling()
    telling.run(next(story for _, story in stories() if story.title == "In approve each class waits for a person"))
    records = [*telling.shell.kept.values()]
    assert [record_of(kept(record)) for record in records] == records
    assert {type(record).__name__ for record in records} >= {"Case", "NodePast", "JobPast", "Effect", "Question", "Numbers"}


@pytest.mark.parametrize(("text", "said"), [
    ("{", "is not JSON"),
    ("[]", "should be one of Case"),
    ('{"record": "Tyre"}', "is 'Tyre'"),
    ('{"record": "Numbers", "cases": 1}', r"record\.cases: is unknown"),
    ('{"record": "Numbers", "case": "1"}', r"record\.case: is '1'"),
    ('{"record": "Numbers", "case": true}', r"record\.case: is True"),
    ('{"record": "NodePast"}', r"record\.node: is missing"),
    ('{"record": "NodePast", "node": "n1", "isolated_s": [1, "x"]}', r"record\.isolated_s\[1\]: is 'x'"),
    ('{"record": "Chosen", "group": "a", "action_class": "isolation", "mode": "yolo"}', r"record\.mode: is 'yolo', should be one of observe"),
])
def test_what_is_nothing_of_ours_is_refused_with_the_field(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        record_of(text)


def test_a_field_that_came_later_has_its_default() -> None:
    assert record_of('{"record": "Numbers", "case": 3}') == Numbers(3)
    assert json.loads(kept(Numbers(3))) == {"record": "Numbers", "case": 3, "question": 0}
