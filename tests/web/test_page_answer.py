"""Questions of isolation on the page, against a whole controller: an operator's answer, once, written down under their name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.isolated import Site, site_of, wait_for
from web.door import Visitor, controlling, page_config, visiting

from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell


@contextmanager
def asking(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str = "approve") -> Iterator[tuple[Site, ControllerShell]]:
    """Two witnesses accuse n1, on which a job runs: whether to drain it is a question."""
    site = site_of(page_config(folder), monkeypatch)
    site.set(mode)
    with site.run() as shell:
        site.say_two()
        wait_for(lambda: shell.board.newest() and shell.board.newest().isolation.questions)
        yield site, shell


def answer(visitor: Visitor, id: str, approve: bool, **changes: Any) -> tuple[int, dict[str, Any]]:
    given = visitor.post("/api/answer", {"id": id, "approve": approve, "validate_only": False} | changes)
    return given.status_code, given.json()


def drain_of(visitor: Visitor) -> dict[str, Any]:
    """The question, as the page is given it."""
    found = list[dict[str, Any]]()
    wait_for(lambda: found.extend(one for one in seen(visitor)["questions"] if one["sentence"].startswith("drain n1")) or found)
    return found[0]


def seen(visitor: Visitor) -> Any:
    """Isolation as the page is given it, once it is given anything."""
    wait_for(lambda: visitor.client.get("/api/snapshot").is_success)
    return visitor.client.get("/api/snapshot").json()["isolation"]


def test_an_answer_is_tried_out_given_once_and_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(tmp_path, monkeypatch) as (site, shell), visiting(shell, "ada") as ada:
        drain = drain_of(ada)
        assert drain["would_have"] is False and drain["expires_unix_s"] > drain["asked_unix_s"] > 0
        assert answer(ada, drain["id"], True, validate_only=True) == (200, {"sentence": f"approved: {drain['sentence']}"})
        assert site.scheduler.asked == []
        assert answer(ada, drain["id"], True) == (200, {"sentence": f"approved: {drain['sentence']}"})
        wait_for(lambda: site.scheduler.asked == ["drain n1"])
        status, again = answer(ada, drain["id"], False)
        assert status == 409 and again["message"] == f"id: {drain['id']} is approved already"
        wait_for(lambda: [one["state"] for one in seen(ada)["nodes"]] == ["draining"])
    ledger = Ledger(site.config.ledger_file)
    assert [line.actor for line in ledger.newest(1000) if line.kind == "answer"] == ["ada on the page"]
    ledger.close()


def test_a_no_is_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(tmp_path, monkeypatch) as (site, shell), visiting(shell, "ada") as ada:
        drain = drain_of(ada)["id"]
        assert answer(ada, drain, False)[0] == 200
        wait_for(lambda: drain not in [one["id"] for one in seen(ada)["questions"]])
        assert site.scheduler.asked == []


@pytest.mark.parametrize(
    ("fields", "status", "reason", "field"),
    [
        ({"id": "a9"}, 404, "UNKNOWN_QUESTION", "id"),
        ({"id": "a" * 254}, 400, "TOO_LONG", "id"),
        ({"id": 7}, 400, "BAD_TYPE", "id"),
        ({"approve": "yes"}, 400, "BAD_TYPE", "approve"),
        ({"actor": "somebody else"}, 400, "UNKNOWN_FIELD", "actor"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_field_and_reason(
    ada: Visitor, fields: dict[str, Any], status: int, reason: str, field: str
) -> None:
    code, said = answer(ada, **({"id": "a1", "approve": True} | fields))
    assert (code, said["reason"], said["field"]) == (status, reason, field), said


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerShell]:
    with pytest.MonkeyPatch.context() as patch:
        site = site_of(page_config(tmp_path_factory.mktemp("page")), patch)
        with site.run() as running:
            wait_for(lambda: running.board.newest())
            yield running


@pytest.fixture
def ada(shell: ControllerShell) -> Iterator[Visitor]:
    with visiting(shell, "ada") as visitor:
        yield visitor


def test_a_viewer_reads_and_may_not_answer(shell: ControllerShell) -> None:
    with visiting(shell, "vic") as vic:
        assert seen(vic)["groups"] == [{"name": "all", "isolation": "auto", "restart": "auto"}]
        status, said = answer(vic, "a1", True)
        assert (status, said["reason"]) == (403, "NOT_OPERATOR")


def test_a_request_of_another_page_is_refused(ada: Visitor) -> None:
    given = ada.post("/api/answer", {"id": "a1", "approve": True, "validate_only": False}, origin="https://evil.example")
    assert (given.status_code, given.json()["reason"]) == (403, "OTHER_ORIGIN")


def test_where_nothing_is_isolated_the_page_shows_nothing_of_it_and_takes_no_answer(tmp_path: Path) -> None:
    with controlling(page_config(tmp_path)) as shell, visiting(shell, "ada") as ada:
        assert seen(ada) is None
        status, said = answer(ada, "a1", True)
        assert (status, said["reason"]) == (409, "NO_ISOLATION")
