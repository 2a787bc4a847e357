"""A person with a real browser: is asked whether to drain a node, sees why, says yes, and sees it go."""

from pathlib import Path

import pytest
from fakes.isolated import site_of, wait_for
from playwright.sync_api import Browser, expect
from web.door import PASSWORDS, page_config
from web.witness import opened


def test_an_operator_is_asked_and_the_node_is_drained(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_of(page_config(tmp_path), monkeypatch)
    site.set("approve")
    with site.run() as shell, opened(browser, shell.page_url) as (page, witness):
        expect(page.locator("#isolation-none")).to_be_visible()
        site.say_two()
        drain = page.locator("#questions li").filter(has_text="drain n1")
        expect(drain).to_contain_text("asked", timeout=10_000)
        expect(page.locator("#isolated")).to_contain_text("n1")
        expect(page.get_by_role("button", name="approve")).to_have_count(0)  # nobody is logged in
        page.get_by_role("button", name="log in", exact=True).click()
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORDS["ada"])
        page.keyboard.press("Enter")
        drain.get_by_role("button", name="approve").click()
        expect(page.locator("#answer-told")).to_contain_text("Would be approved: drain n1")
        assert site.scheduler.asked == []
        page.get_by_role("button", name="Yes, approve").dblclick()
        expect(page.locator("#answer-told")).to_contain_text("Done: approved: drain n1")
        wait_for(lambda: site.scheduler.asked == ["drain n1"])
        page.keyboard.press("Escape")
        expect(drain).to_have_count(0)
        expect(page.locator("#ledger")).to_contain_text("(ada on the page)", timeout=10_000)
        assert witness.complaints == []
