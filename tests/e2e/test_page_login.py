"""A person with a real browser: logs in, changes a budget, sees it in the ledger and on the board, and logs out."""

from pathlib import Path

from playwright.sync_api import Browser, Page, expect
from web.door import PASSWORDS, controlling, lines_by, page_config
from web.witness import opened


def log_in(page: Page, name: str, password: str | None = None) -> None:
    page.get_by_role("button", name="log in").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password or PASSWORDS[name])
    page.keyboard.press("Enter")


def test_an_operator_changes_a_budget_and_it_is_on_the_board_and_in_the_ledger(browser: Browser, tmp_path: Path) -> None:
    config = page_config(tmp_path)
    with controlling(config) as shell, opened(browser, shell.page_url) as (page, witness):
        expect(page.locator(".change")).to_be_hidden()
        log_in(page, "ada")
        expect(page.locator("#who")).to_contain_text("ada · operator")
        page.get_by_role("button", name="change budget or mode of row-a").click()
        page.get_by_label("Budget in kW").fill("48")
        page.keyboard.press("Enter")
        expect(page.locator("#change-told")).to_contain_text("of 48.0 kW")
        page.get_by_role("button", name="Yes, set row-a to 48.0 kW").dblclick()
        expect(page.locator("#change-told")).to_contain_text("Done: set row-a to 48.0 kW")
        page.keyboard.press("Escape")
        expect(page.locator("#domains")).to_contain_text("of 48.0 kW")
        expect(page.locator("#ledger")).to_contain_text("budget set from 60,000 to 48,000 W (ada on the page)")
        assert witness.complaints == []
    assert [kind for kind, *_ in lines_by(config)] == ["budget"]
