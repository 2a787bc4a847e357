"""A person with a real browser: logs in, changes a budget, sees it in the ledger and on the board, and logs out."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.limiters import Limiter
from playwright.sync_api import Browser, Page, Route, expect
from web.crew import working
from web.door import NODES, PASSWORDS, controlling, lines_by, make_certificate, page_config, write_users
from web.snapshots import SCENES
from web.stage import playing
from web.witness import Witness, opened

from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.web import sessions
from gpuwarden.controller.web.serve import Door
from gpuwarden.controller.web.users import Role
from gpuwarden.core.address import Address
from gpuwarden.proto.lease_pb2 import Mode


def log_in(page: Page, name: str, password: str | None = None) -> None:
    page.get_by_role("button", name="log in", exact=True).click()
    fill_in(page, name, password)


def fill_in(page: Page, name: str, password: str | None = None) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password or PASSWORDS[name])
    page.keyboard.press("Enter")


def until_all_is_granted(limiters: list[Limiter]) -> None:
    end_s = time.monotonic() + 30.0
    while not all(limiter.mode == Mode.MODE_AUTO and limiter.limit_w >= limiter.demand_w for limiter in limiters):
        assert time.monotonic() < end_s, [limiter.limit_w for limiter in limiters]
        time.sleep(0.1)


def test_an_operator_changes_a_budget_and_the_row_obeys(browser: Browser, tmp_path: Path) -> None:
    """Four nodes draw 33 kW; the new budget carries 28. On the board, in the ledger, and at the limiters."""
    config, limiters = page_config(tmp_path), [Limiter(node, demand_w=5400.0) for node in NODES]
    with controlling(config) as shell, working(shell, *limiters), opened(browser, shell.page_url) as (page, witness):
        expect(page.locator(".change")).to_be_hidden()
        log_in(page, "ada")
        expect(page.locator("#who")).to_contain_text("ada · operator")
        until_all_is_granted(limiters)  # in auto every node begins at its floor
        expect(page.locator("#domains .big")).to_have_text("33.0 kW", timeout=10_000)
        expect(page.locator("#domains")).to_contain_text("nodes live 4 of 4")
        page.get_by_role("button", name="change budget or mode of row-a").click()
        page.get_by_label("Budget in kW").fill("28")
        page.keyboard.press("Enter")
        expect(page.locator("#change-told")).to_contain_text("118 % of 28.0 kW: 5.0 kW too much.")
        page.get_by_role("button", name="Yes, set row-a to 28.0 kW").dblclick()
        expect(page.locator("#change-told")).to_contain_text("Done: set row-a to 28.0 kW")
        page.keyboard.press("Escape")
        expect(page.locator("#domains")).to_contain_text("of 28.0 kW")
        expect(page.locator("#ledger")).to_contain_text("budget set from 60,000 to 28,000 W (ada on the page)")
        expect(page.locator("#ledger .kind.cap").first).to_be_visible(timeout=10_000)
        expect(page.locator("#domains .big")).to_have_text(re.compile(r"^2\d\.\d kW$"), timeout=10_000)
        page.get_by_role("button", name="log out").click()
        expect(page.locator(".change")).to_be_hidden()
        assert witness.complaints == []
    assert [(kind, actor) for kind, actor, _ in lines_by(config) if kind == "budget"] == [("budget", "ada on the page")]
    assert sum(limiter.limit_w for limiter in limiters) < 4 * 5400


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerShell]:
    """Its breaker would not hold without caps. Nobody changes anything of it for good."""
    with controlling(page_config(tmp_path_factory.mktemp("page"), rating_w=30e3)) as running:
        yield running


@contextmanager
def operator(browser: Browser, shell: ControllerShell, name: str = "ada") -> Iterator[tuple[Page, Witness]]:
    """Ada or another, with the dialog open."""
    with opened(browser, shell.page_url) as (page, witness):
        log_in(page, name)
        page.locator(".change").click()
        yield page, witness


def test_a_mode_in_which_the_breaker_may_trip_is_said_first_and_takes_a_second_thought(
    browser: Browser, shell: ControllerShell
) -> None:
    with operator(browser, shell, "eve") as (page, _):
        page.get_by_label("the mode").check()
        page.get_by_label("Mode", exact=True).select_option("observe")
        force = page.get_by_label("Do it although the breaker may trip")
        expect(force).to_be_hidden()
        page.get_by_role("button", name="See what it leads to").click()
        expect(page.locator("#change-told")).to_contain_text("its breaker carries 30,000 W; force it if you mean it")
        force.check()
        page.get_by_role("button", name="See what it leads to").click()
        expect(page.locator("#change-told")).to_contain_text("goes back to its driver's default limit")
        expect(page.get_by_role("button", name="Yes, set row-a to observe")).to_be_visible()
        page.get_by_label("Mode", exact=True).select_option("notify")
        expect(force).to_be_hidden()
        expect(force).not_to_be_checked()
        expect(page.get_by_role("button", name="See what it leads to")).to_be_visible()


def test_to_an_operator_forcing_is_not_offered(browser: Browser, shell: ControllerShell) -> None:
    with operator(browser, shell) as (page, _):
        page.get_by_label("the mode").check()
        page.get_by_label("Mode", exact=True).select_option("observe")
        page.get_by_role("button", name="See what it leads to").click()
        expect(page.locator("#change-told")).to_contain_text("Only an admin may force it.")
        expect(page.get_by_label("Do it although the breaker may trip")).to_be_hidden()


def test_what_the_api_refuses_is_said_with_its_field_and_reason(browser: Browser, shell: ControllerShell) -> None:
    with operator(browser, shell) as (page, _):
        page.get_by_label("Budget in kW").fill("9")
        page.keyboard.press("Enter")
        expect(page.locator("#change-told")).to_contain_text("budget_w: is 9,000 W, below the floors")
        page.get_by_label("Budget in kW").fill("25")
        expect(page.locator("#change-told")).to_be_empty()


def test_a_held_enter_key_tries_out_and_does_not_confirm(browser: Browser, shell: ControllerShell) -> None:
    with operator(browser, shell) as (page, _):
        page.get_by_label("Budget in kW").fill("25")
        for _ in range(20):
            page.keyboard.down("Enter")  # the same key again without its release is a repeat
            page.wait_for_timeout(30)
        page.keyboard.up("Enter")
        expect(page.get_by_role("button", name="Yes, set row-a to 25.0 kW")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()


def test_an_answer_that_comes_when_something_else_is_wanted_is_not_shown(browser: Browser, shell: ControllerShell) -> None:
    with operator(browser, shell) as (page, _):
        late = list[Route]()
        page.route("**/api/budget", lambda route: late.append(route))
        page.get_by_label("Budget in kW").fill("25")
        page.keyboard.press("Enter")
        expect(page.locator("#change-form")).to_have_attribute("inert", "")
        page.keyboard.press("Escape")
        page.locator(".change").click()
        page.get_by_label("Budget in kW").fill("26")
        with page.expect_response("**/api/budget"):
            late[0].continue_()
        page.wait_for_timeout(100)
        expect(page.get_by_role("button", name="See what it leads to")).to_be_enabled()
        expect(page.locator("#change-told")).to_be_empty()


def test_keys_alone_open_and_leave_the_dialog_and_come_back_to_where_they_were(browser: Browser, shell: ControllerShell) -> None:
    with operator(browser, shell) as (page, witness):
        expect(page.get_by_label("Budget in kW")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#change")).to_be_hidden()
        expect(page.locator(".change")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_label("Budget in kW")).to_be_focused()
        assert witness.complaints == []


def test_a_viewer_sees_nothing_to_change_and_a_wrong_password_is_said(browser: Browser, shell: ControllerShell) -> None:
    with opened(browser, shell.page_url) as (page, _):
        log_in(page, "vic", "not the password")
        expect(page.get_by_role("alert")).to_have_text("name or password is wrong")
        expect(page.get_by_label("Password")).to_be_empty()
        fill_in(page, "vic")
        expect(page.locator("#who")).to_contain_text("vic · viewer")
        expect(page.locator("#nodes .tile")).to_have_count(4)
        expect(page.locator(".change")).to_be_hidden()


def test_a_session_that_has_ended_asks_for_the_password_again(
    browser: Browser, shell: ControllerShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with operator(browser, shell) as (page, _):
        monkeypatch.setitem(sessions.IDLE_S, Role.OPERATOR, 0.0)
        page.get_by_label("Budget in kW").fill("25")
        page.keyboard.press("Enter")
        expect(page.locator("#login")).to_be_visible()
        expect(page.locator("#change")).to_be_hidden()
        expect(page.locator("#who")).to_have_text("log in")


INJECTED = """<script>window.injected = 1</script><img src="/nowhere" onerror="window.injected = 2"><p style="color: red">
<a id="trap" href="javascript:window.injected = 3">x</a><iframe srcdoc="<script>parent.injected = 4</script>"></iframe></body>"""
AT_RUN_TIME = """() => new Promise((over) => setTimeout(() => {
    const stopped = [];
    const attempts = {
        eval: () => new Function('window.injected = 5')(),
        markup: () => { document.body.innerHTML += '<img src=x onerror="window.injected = 6">'; },
        text: () => { const made = document.createElement('script'); made.textContent = 'window.injected = 7'; document.body.append(made); },
        elsewhere: () => { const made = document.createElement('script'); made.src = 'data:text/javascript,window.injected=8'; },
    };
    for (const [name, attempt] of Object.entries(attempts)) try { attempt(); } catch { stopped.push(name); }
    over(stopped);
}))"""


def test_what_somebody_injects_does_not_run(browser: Browser, shell: ControllerShell) -> None:
    """Into the page's own source, and by a script that runs already; not in the debugger's call, which may do anything."""
    with opened(browser, "about:blank") as (page, witness):

        def inject(route: Route) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, body=answer.text().replace("</body>", INJECTED))

        page.route(shell.page_url or "", inject)
        page.goto(shell.page_url or "")
        expect(page.locator("#nodes .tile")).to_have_count(4)
        page.locator("#trap").dispatch_event("click")
        assert page.evaluate(AT_RUN_TIME) == ["eval", "markup", "text", "elsewhere"]
        assert page.evaluate("window.injected") is None
        violated = [said for said in witness.complaints if "Content Security Policy" in said]
        assert any("script-src" in said for said in violated) and any("style-src" in said for said in violated)


def test_beyond_loopback_nothing_is_shown_before_the_login_nor_after_it(browser: Browser, tmp_path: Path) -> None:
    door = Door(write_users(tmp_path / "users"), make_certificate(tmp_path / "tls"))
    everywhere = Address("0.0.0.0", 0)
    with playing(SCENES["eight"], listen=everywhere, door=door) as served:
        url = f"https://localhost:{served.address.port}/"
        with opened(browser, url, ignore_https_errors=True) as (page, witness):
            expect(page.locator("#login")).to_be_visible()
            expect(page.locator("#sentence")).to_have_text("Log in to see this cluster.")
            fill_in(page, "vic")
            expect(page.locator("#sentence")).to_contain_text("Safe: row-a draws")
            expect(page.locator("#nodes .tile")).to_have_count(8)
            page.get_by_role("button", name="log out").click()
            expect(page.locator("#sentence")).to_have_text("Log in to see this cluster.")
            assert page.locator("#nodes .tile").count() == 0
            assert witness.complaints == []


def test_a_restarted_controller_has_logged_everybody_out_and_the_page_says_so(browser: Browser, tmp_path: Path) -> None:
    config = page_config(tmp_path)
    with controlling(config) as first:
        assert first.page_url is not None
        port = int(first.page_url.rstrip("/").rpartition(":")[2])
        with opened(browser, first.page_url) as (page, _):
            log_in(page, "ada")
            expect(page.locator(".change")).to_be_visible()
            first.close()
            with controlling(page_config(tmp_path, web_listen=Address("127.0.0.1", port))):
                expect(page.locator("#who")).to_have_text("log in", timeout=15_000)
                expect(page.locator(".change")).to_be_hidden()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_dialog_fits_a_phone_and_a_desk(browser: Browser, shell: ControllerShell, width: int) -> None:
    with opened(browser, shell.page_url, width, 740) as (page, _):
        log_in(page, "ada")
        page.locator(".change").click()
        box = page.locator("#change").bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") == width
