"""What operators ask for, and what an operator may write."""

import pytest
from scenarios.story import Story, Telling

from gpuwarden.controller.isolation.config import IsolationConfig
from gpuwarden.controller.isolation.events import Answered, Approve, ChooseMode, Cordon, Event, Line, Uncordon
from gpuwarden.controller.isolation.records import ActionClass, Mode
from gpuwarden.core.config import ConfigError, parse

ACCUSED = ("cluster n[1-4] approve", "+20m", "n1 GPU-0 xid_79", "n1 GPU-0 gpu_nvlink_down", "+1m")


@pytest.fixture
def telling() -> Telling:
    told = Telling()
    told.run(Story("", ACCUSED, ()))
    return told


@pytest.mark.parametrize("request_", [
    Approve(5, "ada", "a2", dry_run=True),
    Cordon(5, "ada", "n2", "noise", dry_run=True),
    Cordon(5, "ada", "n1", "noise", dry_run=True),
    ChooseMode(5, "ada", "all", ActionClass.RESTART, Mode.AUTO, dry_run=True),
])
def test_a_dry_run_says_what_would_be_and_changes_nothing(telling: Telling, request_: Event) -> None:
    machine = telling.shell.machine
    before = (dict(machine.facts.cases), dict(machine.facts.questions), dict(machine.facts.chosen))
    (answered,) = machine.step(telling.cluster.now_s, request_)
    assert isinstance(answered, Answered)
    assert (answered.token, answered.ok) == (5, True)
    assert answered.sentence
    assert before == (machine.facts.cases, machine.facts.questions, machine.facts.chosen)


def test_a_refusal_has_a_code_and_names_the_field(telling: Telling) -> None:
    machine = telling.shell.machine
    for request, code, reason in (
        (Approve(1, "ada", "a99"), "NOT_FOUND", "UNKNOWN_QUESTION"),
        (Uncordon(1, "ada", "n3"), "FAILED_PRECONDITION", "NOT_OUT"),
        (Cordon(1, "ada", "n3 && reboot", ""), "NOT_FOUND", "UNKNOWN_NODE"),
        (ChooseMode(1, "ada", "none", ActionClass.RESTART, Mode.AUTO), "NOT_FOUND", "UNKNOWN_GROUP"),
    ):
        (answered,) = machine.step(telling.cluster.now_s, request)
        assert isinstance(answered, Answered)
        assert (answered.ok, answered.code, answered.reason) == (False, code, reason)
        assert answered.sentence.split(":")[0] in ("id", "node", "group")


def test_the_ledger_says_who_asked(telling: Telling) -> None:
    actions = telling.shell.machine.step(telling.cluster.now_s, Cordon(1, "eve", "n2", "noise"))
    assert [line.actor for line in actions if isinstance(line, Line) and line.kind in ("cordon", "drain")] == ["eve", "eve"]


@pytest.mark.parametrize(("document", "said"), [
    ({"groups": [{"name": "a", "nodes": ["n1"], "isolation": "yolo"}]}, "isolation: is 'yolo', should be observe, notify, approve, auto"),
    ({"groups": [{"name": "a", "nodes": ["n1"]}, {"name": "b", "nodes": ["n1"]}]}, "groups.nodes: 'n1' occurs 2 times"),
    ({"shared": [{"name": "s", "nodes": ["n[2-1]"]}]}, "nodes: "),
    ({"opt_out": ["n 1"]}, "opt_out: "),
    ({"blast_share": 0.9}, "blast_share: is 0.9, should be 0 to 0.5"),
    ({"approval_s": 1}, "approval_s: is 1, should be 60 to 604,800"),
])
def test_what_an_operator_may_not_write_is_refused_with_the_key(document: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=r"^config: ") as refused:
        parse(document, IsolationConfig)
    assert said in str(refused.value)
