"""Logging in over real HTTP: who is let in, how often somebody may try, and what a guesser learns."""

import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from web.door import PASSWORDS, Visitor, line, write_users
from web.snapshots import SCENES, snapshot

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web import attempts, sessions
from gpuwarden.controller.web.attempts import Attempts
from gpuwarden.controller.web.serve import Door, Page
from gpuwarden.controller.web.sessions import Sessions
from gpuwarden.controller.web.users import Role, Users, write_user
from gpuwarden.core.address import Address


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    return write_users(tmp_path / "users")


@pytest.fixture
def page(users_file: Path) -> Iterator[Page]:
    board = Board()
    board.publish(snapshot(SCENES["eight"]))
    running = Page(Address("127.0.0.1", 0), board, Door(users_file, hosts=("row-a.example",)))
    running.start()
    yield running
    running.close()


@pytest.fixture
def anybody(page: Page) -> Iterator[Visitor]:
    visitor = Visitor(page.url)
    with visitor.client:
        yield visitor


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(anybody: Visitor) -> None:
    answer = anybody.log_in("ada")
    assert (answer.json()["name"], answer.json()["role"]) == ("ada", "operator")
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "strict", "/", "")
    assert len(cookie.value) >= 43, "32 random bytes"


def test_a_wrong_password_and_a_strange_name_are_told_alike(anybody: Visitor) -> None:
    wrong, strange = anybody.log_in("ada", "guess"), anybody.log_in("eve", "guess")
    assert wrong.status_code == strange.status_code == 401 and wrong.content == strange.content
    assert "set-cookie" not in wrong.headers and "set-cookie" not in strange.headers


def test_a_strange_name_takes_the_time_of_a_wrong_password(anybody: Visitor, users_file: Path) -> None:
    write_user(users_file, "real", Role.VIEWER, "a password of full cost")

    def least_s(name: str) -> float:
        """Of the processor, which others on the machine do not add to; the page runs in this process."""
        took_s = []
        for _ in range(3):
            begin_s = time.process_time()
            assert anybody.log_in(name, "guess").status_code == 401
            took_s.append(time.process_time() - begin_s)
        return min(took_s)

    known_s, strange_s = least_s("real"), least_s("strange")
    assert 0.6 < strange_s / known_s < 1.6


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"origin": ""}, {"sec_fetch_site": "cross-site"}])
def test_another_page_cannot_log_a_browser_in_or_out(anybody: Visitor, headers: dict[str, str]) -> None:
    assert anybody.log_in("ada", **headers).status_code == 403
    anybody.log_in("ada")
    assert anybody.post("/logout", {}, **headers).status_code == 403
    assert anybody.post("/logout", {}, x_csrf_token="").status_code == 403
    assert anybody.client.get("/api/session").json()["name"] == "ada"


def test_a_form_that_is_sent_without_our_script_is_refused(anybody: Visitor) -> None:
    fields = {"name": "ada", "password": PASSWORDS["ada"]}
    assert anybody.client.post("/login", data=fields, headers={"origin": anybody.origin}).status_code == 415


def test_logging_in_again_ends_the_session_that_was_there(anybody: Visitor) -> None:
    anybody.log_in("vic")
    old = anybody.client.cookies["gpuwarden"]
    anybody.log_in("ada")
    assert anybody.client.cookies["gpuwarden"] != old
    anybody.client.cookies.clear()
    assert "name" not in anybody.client.get("/api/session", headers={"cookie": f"gpuwarden={old}"}).json()


def test_a_guesser_is_stopped_whoever_he_says_he_is_and_others_are_not(page: Page, anybody: Visitor) -> None:
    tries = [anybody.log_in("ada", "guess", x_forwarded_for=f"10.0.0.{n}") for n in range(attempts.EACH.burst + 1)]
    assert [answer.status_code for answer in tries] == [401] * attempts.EACH.burst + [429]
    assert 1 <= int(tries[-1].headers["retry-after"]) <= attempts.EACH.every_s
    assert anybody.log_in("ada").status_code == 429, "the right password is not looked at either"
    elsewhere = Visitor(page.url, transport=httpx.HTTPTransport(local_address="127.0.0.2"))
    with elsewhere.client:
        assert elsewhere.log_in("ada").status_code == 200


def test_one_good_password_buys_no_guesses_at_another(anybody: Visitor) -> None:
    for _ in range(attempts.EACH.burst):
        assert anybody.log_in("vic").status_code == 200
        assert anybody.log_in("ada", "guess").status_code == 401
    assert anybody.log_in("vic").status_code == 429


def test_attempts_from_everywhere_are_bounded_together_and_so_is_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    limits = Attempts()
    waits = [limits.take(f"10.0.{n // 250}.{n % 250}") for n in range(attempts.ALL.burst + 5)]
    assert waits[: attempts.ALL.burst] == [0.0] * attempts.ALL.burst and min(waits[attempts.ALL.burst :]) > 0
    for n in range(attempts.MOST_ADDRESSES + 50):
        clock[0] += attempts.ALL.every_s
        assert limits.take(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}") == 0
    assert len(limits._each) == attempts.MOST_ADDRESSES


def test_one_ipv6_network_is_one_guesser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    limits = Attempts()
    waits = [limits.take(f"2001:db8::{n:x}") for n in range(attempts.EACH.burst + 1)]
    assert waits[-1] == attempts.EACH.every_s
    assert limits.take("2001:db8:0:1::1") == 0


def test_sessions_are_bounded_and_the_oldest_goes_first(users_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    users = Users(users_file)
    opened, vic = Sessions(users), users.find("vic")
    assert vic is not None
    first, second, third = (opened.open(vic) for _ in range(3))
    opened.use(first)
    fourth = opened.open(vic)
    assert [opened.find(token) is not None for token in (first, second, third, fourth)] == [True, False, True, True]


def test_one_users_sessions_drive_out_nobody_elses(users_file: Path) -> None:
    users = Users(users_file)
    opened, ada, vic = Sessions(users), users.find("ada"), users.find("vic")
    assert ada is not None and vic is not None
    hers = opened.open(ada)
    his = [opened.open(vic) for _ in range(sessions.MOST_SESSIONS + 1)]
    assert opened.find(hers) and opened.find(his[-1])
    assert sum(opened.find(token) is not None for token in his) == sessions.MOST_OF_ONE


def test_using_a_session_keeps_an_operator_but_not_beyond_its_age(users_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    users = Users(users_file)
    opened, ada = Sessions(users), users.find("ada")
    assert ada is not None
    token = opened.open(ada)
    while opened.find(token):
        opened.use(token)
        clock[0] += sessions.IDLE_S[Role.OPERATOR] - 1
    assert sessions.LIFE_S <= clock[0] < sessions.LIFE_S + sessions.IDLE_S[Role.OPERATOR]


def test_who_is_struck_from_the_file_or_given_another_role_is_out_at_once(anybody: Visitor, users_file: Path) -> None:
    anybody.log_in("ada")
    write_users(users_file, {"ada": "viewer", "vic": "viewer"})
    assert "name" not in anybody.client.get("/api/session").json()
    assert anybody.log_in("ada").json()["role"] == "viewer"
    write_users(users_file, {"vic": "viewer"})
    assert "name" not in anybody.client.get("/api/session").json()
    assert anybody.log_in("ada").status_code == 401


SPOILED = {
    "open to others": lambda file: file.chmod(0o644), "wrong": lambda file: file.write_text("ada:boss:x\n"), "gone": Path.unlink
}  # fmt: skip


@pytest.mark.parametrize("spoiled", SPOILED)
def test_while_the_file_is_bad_nobody_is_known_and_the_log_says_why(
    anybody: Visitor, users_file: Path, caplog: pytest.LogCaptureFixture, spoiled: str
) -> None:
    anybody.log_in("ada")
    SPOILED[spoiled](users_file)
    assert "name" not in anybody.client.get("/api/session").json()
    assert anybody.client.get("/api/session").status_code == 200
    assert caplog.text.count("nobody can log in to the page until this is mended") == 1
    users_file.unlink(missing_ok=True)
    write_users(users_file)
    assert anybody.client.get("/api/session").json()["name"] == "ada", "the same user again: the session goes on"


STRANGE = ("evil.example", "127.0.0.2", "", "127.0.0.1@evil.example", "evil.example:80", "[::1]", "localhost.evil.example", "a b")


def test_a_name_that_was_made_to_point_here_is_refused(anybody: Visitor) -> None:
    for path in ("/", "/api/snapshot", "/api/session", "/-/healthy", "/static/page.js"):
        assert {anybody.client.get(path, headers={"host": host}).status_code for host in STRANGE} == {421}
    assert anybody.log_in("ada", host="evil.example", origin="http://evil.example").status_code == 421


def test_its_own_names_are_answered(anybody: Visitor) -> None:
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1", "row-a.example", "Row-A.example:443"):
        assert anybody.client.get("/", headers={"host": host}).status_code == 200
        assert anybody.log_in("ada", host=host, origin=f"http://{host.lower()}").status_code == 200


def test_on_loopback_everybody_may_look(anybody: Visitor) -> None:
    assert anybody.client.get("/api/session").json() == {"can_login": True, "needed_to_read": False}
    assert anybody.client.get("/api/snapshot").status_code in (200, 503)
    assert anybody.client.get("/api/history").status_code == 200


def test_the_hash_is_scrypt_as_the_standard_has_it(users_file: Path) -> None:
    """The line is written here with hashlib alone."""
    user = Users(users_file).find("ada")
    assert user is not None and user.secret.matches("analytical engine") and not user.secret.matches("analytical engin")
    assert f"ada:operator:{user.secret}\n" == line("ada", "operator", PASSWORDS["ada"])
    assert "salt" not in repr(user) and "digest" not in repr(user)
