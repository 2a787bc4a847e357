"""Changes from the page, against a whole controller: only an operator's own page, once, and written down."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web.door import ANYWHERE, Visitor, controlling, lines_by, page_config, visiting, write_users

from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.rpc import Rpc
from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web import body, sessions
from gpuwarden.controller.web.asking import Ask
from gpuwarden.controller.web.serve import Door, Page
from gpuwarden.controller.web.users import Role


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ControllerConfig:
    return page_config(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def shell(config: ControllerConfig) -> Iterator[ControllerShell]:
    """Of all the tests that are refused: in the end nothing is in its ledger."""
    with controlling(config) as running:
        yield running
    assert lines_by(config) == []


@pytest.fixture
def ada(shell: ControllerShell) -> Iterator[Visitor]:
    with visiting(shell, "ada") as visitor:
        yield visitor


def mode(word: str, request_id: str = "m1", **changes: Any) -> dict[str, Any]:
    return {"domain": "row-a", "mode": word, "request_id": request_id, "validate_only": False, "force": False} | changes


def test_a_double_click_is_one_change_and_the_ledger_names_who_it_was(tmp_path: Path) -> None:
    config = page_config(tmp_path)
    with controlling(config) as shell, visiting(shell, "ada") as ada:
        first, second = ada.set_budget(48e3), ada.set_budget(48e3)
        assert first.status_code == second.status_code == 200 and first.json() == second.json()
        assert first.json()["domain"]["budget_w"] == 48e3
        other = ada.set_budget(47e3)
        assert (other.status_code, other.json()["reason"]) == (409, "REQUEST_ID_REUSED")
    assert lines_by(config) == [("budget", "ada on the page", "budget set from 60,000 to 48,000 W")]


def test_trying_out_tells_what_it_leads_to_and_changes_nothing(tmp_path: Path) -> None:
    config = page_config(tmp_path)
    with controlling(config) as shell, visiting(shell, "ada") as ada:
        budget = {"domain": "row-a", "budget_w": 45000, "request_id": "r1", "validate_only": True}
        tried = ada.post("/api/budget", budget)
        assert tried.status_code == 200 and tried.json()["domain"]["budget_w"] == 45e3
        assert any("of 45.0 kW" in line for line in tried.json()["leads_to"])
        assert "sets the limits of the 4 nodes" in ada.post("/api/mode", mode("auto", validate_only=True)).json()["leads_to"][0]
    assert lines_by(config) == []


def test_leaving_auto_under_a_breaker_that_would_not_hold_takes_an_admins_force(tmp_path: Path) -> None:
    config = page_config(tmp_path, rating_w=30e3)
    with controlling(config) as shell, visiting(shell, "ada") as ada, visiting(shell, "eve") as eve:
        for tried in (False, True):
            denied = ada.post("/api/mode", mode("observe", "m0", force=True, validate_only=tried))
            assert (denied.status_code, denied.json()["reason"], denied.json()["field"]) == (403, "NOT_ADMIN", "force")
        refused = eve.post("/api/mode", mode("observe"))
        assert (refused.status_code, refused.json()["reason"], refused.json()["field"]) == (409, "WOULD_NOT_HOLD", "mode")
        forced = eve.post("/api/mode", mode("observe", force=True))
        assert forced.json()["domain"]["mode"] == "observe" and "its breaker carries 30,000 W" in forced.json()["warning"]
    ((kind, actor, reason),) = lines_by(config)
    assert (kind, actor) == ("mode", "eve on the page") and reason.startswith("mode set from auto to observe, forced: ")


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"x_csrf_token": ""}, 403, "BAD_CSRF_TOKEN"),
        ({"x_csrf_token": "x" * 43}, 403, "BAD_CSRF_TOKEN"),
        ({"origin": "https://evil.example"}, 403, "OTHER_ORIGIN"),
        ({"origin": "null"}, 403, "OTHER_ORIGIN"),
        ({"origin": ""}, 403, "OTHER_ORIGIN"),
        ({"sec_fetch_site": "same-site"}, 403, "OTHER_ORIGIN"),
        ({"sec_fetch_site": "cross-site"}, 403, "OTHER_ORIGIN"),
        ({"cookie": ""}, 401, "NO_SESSION"),
        ({"cookie": "gpuwarden=guess"}, 401, "NO_SESSION"),
        ({"content_type": "text/plain"}, 415, "NOT_JSON"),
        ({"content_type": "application/x-www-form-urlencoded"}, 415, "NOT_JSON"),
    ],
)
def test_a_request_that_is_not_the_operators_own_page_is_refused(
    ada: Visitor, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = ada.set_budget(48e3, **headers)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


def test_another_port_of_the_same_host_is_another_origin(ada: Visitor) -> None:
    assert ada.set_budget(48e3, origin="http://127.0.0.1:1").json()["reason"] == "OTHER_ORIGIN"


def test_a_viewer_may_change_nothing_with_all_the_right_tokens(shell: ControllerShell) -> None:
    with visiting(shell, "vic") as vic:
        answer = vic.set_budget(48e3)
        assert (answer.status_code, answer.json()["reason"]) == (403, "NOT_OPERATOR")
        assert vic.post("/api/mode", mode("observe")).status_code == 403


def test_a_session_of_somebody_elses_csrf_token_is_no_use(shell: ControllerShell, ada: Visitor) -> None:
    with visiting(shell, "ada") as again:
        assert again.set_budget(48e3, x_csrf_token=ada.csrf).json()["reason"] == "BAD_CSRF_TOKEN"


def test_after_logging_out_the_old_cookie_is_worth_nothing(ada: Visitor) -> None:
    cookie = ada.client.cookies["gpuwarden"]
    assert ada.post("/logout", {}).status_code == 200
    assert "gpuwarden" not in ada.client.cookies
    assert ada.set_budget(48e3, cookie=f"gpuwarden={cookie}").status_code == 401


def test_a_session_ends_at_its_age_and_sooner_when_it_is_not_used(ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as soon:
        soon.setitem(sessions.IDLE_S, Role.OPERATOR, 0.0)
        assert ada.set_budget(48e3).json()["reason"] == "NO_SESSION"
    assert ada.set_budget(48e3).json()["reason"] == "NO_SESSION", "an ended session does not come back"
    ada.log_in("ada")
    monkeypatch.setattr(sessions, "LIFE_S", 0.0)
    assert ada.set_budget(48e3).json()["reason"] == "NO_SESSION"


@pytest.mark.parametrize(
    ("fields", "status", "reason", "field"),
    [
        ({"domain": "row-z"}, 404, "UNKNOWN_DOMAIN", "domain"),
        ({"budget_w": 9e3}, 409, "BUDGET_CANNOT_HOLD", "budget_w"),
        ({"budget_w": 61e3}, 409, "BUDGET_CANNOT_HOLD", "budget_w"),
        ({"budget_w": -1}, 400, "BAD_BUDGET", "budget_w"),
        ({"budget_w": 1 << 60}, 400, "BAD_TYPE", "budget_w"),
        ({"budget_w": "48000"}, 400, "BAD_TYPE", "budget_w"),
        ({"budget_w": True}, 400, "BAD_TYPE", "budget_w"),
        ({"budget_w": None}, 400, "BAD_TYPE", "budget_w"),
        ({"validate_only": 0}, 400, "BAD_TYPE", "validate_only"),
        ({"domain": ["row-a"]}, 400, "BAD_TYPE", "domain"),
        ({"domain": "row-a\n"}, 400, "BAD_TEXT", "domain"),
        ({"request_id": ""}, 400, "MISSING", "request_id"),
        ({"request_id": "x" * 254}, 400, "TOO_LONG", "request_id"),
        ({"request_id": "x" * 1025}, 400, "BAD_TEXT", "request_id"),
        ({"actor": "somebody else"}, 400, "UNKNOWN_FIELD", "actor"),
    ],
)
def test_what_cannot_be_set_is_refused_with_field_and_reason(
    ada: Visitor, fields: dict[str, Any], status: int, reason: str, field: str
) -> None:
    given = {"domain": "row-a", "budget_w": 48e3, "request_id": "r1", "validate_only": False} | fields
    answer = ada.post("/api/budget", given)
    said = answer.json()
    assert (answer.status_code, said["reason"], said["field"]) == (status, reason, field), said
    assert said["message"].startswith(field) or field == "domain"


@pytest.mark.parametrize(("word", "status", "reason"), [("approve", 501, "NO_APPROVALS"), ("", 400, "BAD_MODE"), ("off", 400, "BAD_MODE")])
def test_a_mode_that_cannot_be_is_refused(ada: Visitor, word: str, status: int, reason: str) -> None:
    answer = ada.post("/api/mode", mode(word))
    assert (answer.status_code, answer.json()["reason"], answer.json()["field"]) == (status, reason, "mode")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400), (b"[]", 400), (b"{", 400), (b"null", 400), (b"\xff\xfe", 400), (b"[" * 4000, 400), (b'{"budget_w": NaN}', 400),
        (b'{"domain": "row-a", "budget_w": 1e999, "request_id": "r", "validate_only": false}', 400),
        (b'{"domain": "\\ud800", "budget_w": 48e3, "request_id": "r", "validate_only": false}', 400),
        (b" " * (body.MAX_BODY_BYTES + 1), 413),
    ],
    ids=lambda value: f"{value[:20]!r}" if isinstance(value, bytes) else "",
)  # fmt: skip
def test_a_body_that_is_no_small_json_object_is_refused(ada: Visitor, content: bytes, status: int) -> None:
    headers = {"origin": ada.origin, "x-csrf-token": ada.csrf, "content-type": "application/json"}
    answer = ada.client.post("/api/budget", content=content, headers=headers)
    assert answer.status_code == status and answer.json()["message"]


def test_a_body_without_an_announced_length_is_bounded_too(ada: Visitor) -> None:
    def flood() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 1024

    headers = {"origin": ada.origin, "x-csrf-token": ada.csrf, "content-type": "application/json"}
    assert ada.client.post("/api/budget", content=flood(), headers=headers).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "WITHIN_S", 0.2)
    def drip() -> Iterator[bytes]:
        yield b"{"
        time.sleep(1.0)
        yield b"}"

    headers = {"origin": ada.origin, "x-csrf-token": ada.csrf, "content-type": "application/json"}
    assert ada.client.post("/api/budget", content=drip(), headers=headers).status_code == 408


def test_only_a_post_changes_anything(ada: Visitor) -> None:
    for path in ("/api/budget", "/api/mode", "/login", "/logout"):
        assert {ada.client.request(method, path).status_code for method in ("GET", "PUT", "DELETE", "PATCH")} == {405}


def test_without_a_users_file_there_is_nothing_to_post_to(tmp_path: Path) -> None:
    with controlling(page_config(tmp_path, web_users_file=None)) as shell, visiting(shell) as anybody:
        assert anybody.client.get("/api/session").json() == {"can_login": False, "needed_to_read": False}
        assert {anybody.post(path, {}).status_code for path in ("/login", "/logout", "/api/budget", "/api/mode")} == {404}


def test_a_controller_that_takes_no_request_is_told_as_busy(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    rpc = Rpc(ANYWHERE, None, (), Board(), ledger, lambda event: False)
    page = Page(ANYWHERE, Board(), Door(write_users(tmp_path / "users")), Ask(rpc.ask, rpc.ask_isolation))
    page.start()
    try:
        ada = Visitor(page.url)
        with ada.client:
            ada.log_in("ada")
            answer = ada.set_budget(48e3)
            assert (answer.status_code, answer.json()["reason"]) == (503, "BUSY")
    finally:
        page.close()
        rpc.close()
        ledger.close()


def test_no_secret_is_in_logs_ledger_or_event_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    config = page_config(tmp_path)
    with controlling(config, tmp_path / "events") as shell, visiting(shell, "ada") as ada:
        token = ada.client.cookies["gpuwarden"]
        secrets = [token, ada.csrf, "analytical engine", "typed in the wrong field", "wrong password", "$scrypt$"]
        assert ada.set_budget(48e3).status_code == 200
        with visiting(shell) as stranger:
            stranger.log_in("ada", "wrong password")
            stranger.log_in("typed in the wrong field", "wrong password")
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    written = "\n".join(ours) + "".join(
        path.read_bytes().decode("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file() and path.name != "users"
    )
    assert "ada (operator) logged in to the page from 127.0.0.1" in written and "ada on the page" in written
    assert "refused from 127.0.0.1: user ada" in written and "refused from 127.0.0.1: no such user" in written
    assert [secret for secret in secrets if secret in written or json.dumps(secret)[1:-1] in written] == []
