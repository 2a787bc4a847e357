"""The page in a real browser: live, silent about nothing, and text stays text."""

import math
import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from web.snapshots import SCENES, START_NS, Scene, snapshot
from web.stage import playing, serving
from web.witness import opened

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web.serve import Page as Served
from gpuwarden.proto.finding_pb2 import Evidence, Trend

EVIL = '<img src=x onerror="document.title=1">'


def test_it_shows_live_data_and_calls_nobody_else(browser: Browser) -> None:
    with playing(SCENES["findings"]) as served, opened(browser, served.url) as (page, witness):
        expect(page.locator("#sentence")).to_contain_text("Within budget, not all in sight: row-a draws")
        expect(page.locator("#nodes .tile")).to_have_count(64)
        expect(page.locator('#nodes .tile[data-state="stale"]')).to_have_count(2)
        expect(page.locator('#nodes .tile[data-state="hung"]')).to_have_text("37hung")
        expect(page.locator("#findings > li")).to_have_count(5)
        expect(page.locator("#findings > li").first).to_contain_text("step time 1.61 s, 1.31 s expected")
        expect(page.locator("#ledger > li").first).to_contain_text("node-03, node-08 and 11 more capped to 430 W a GPU")
        before = page.locator("#freshness").inner_text()
        expect(page.locator("#freshness")).not_to_have_text(before)
        assert painted(page) > 1000
        assert witness.complaints == []
        assert witness.hosts == {urlsplit(served.url).netloc}


def test_a_finding_shows_its_score_over_time_with_a_hole_where_nothing_is_known(browser: Browser) -> None:
    """And what was seen as a bar beside the mark of what was expected."""
    board, shown = Board(), snapshot(Scene(8, findings=1))
    (one,) = shown.findings
    one.trend.CopyFrom(Trend(name="score", values=[1.0, 1.0, math.nan, 2.0, 4.0], threshold=2.5, until_unix_ns=START_NS))
    one.evidence.append(Evidence(name="cards", value=8))
    board.publish(shown)
    with serving(board) as served, opened(browser, served.url) as (page, witness):
        expect(page.locator(".trend")).to_contain_text("score: 4 at last, above 2.5 it is a finding")
        expect(page.locator(".trend path.score")).to_have_attribute("d", re.compile(r"^M 0 28 h 0 L 25 28 M 75 19\.3\d* h 0 L 100 2$"))
        expect(page.locator(".trend path.threshold")).to_have_attribute("d", "M 0 15 H 100")
        box = page.locator(".trend svg").bounding_box()
        assert box is not None and box["width"] > 200 and box["height"] > 20
        expect(page.locator(".compared > li")).to_have_count(2)
        step_time = page.locator(".compared > li").first
        expect(step_time).to_have_text("step time 1.61 s, 1.31 s expected")
        assert step_time.locator(".seen").evaluate("one => one.style.width") == "100%"
        assert float(step_time.locator(".expected").evaluate("one => parseFloat(one.style.left)")) == pytest.approx(100 * 1.31 / 1.61, abs=0.01)
        expect(page.locator("div.evidence")).to_have_text("cards 8")
        assert witness.complaints == []


def painted(page: Page) -> int:
    """Pixels of the chart that are not empty."""
    count = page.evaluate(
        """() => { const canvas = document.querySelector('#chart canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0; for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 0; return count; }"""
    )
    return int(count)


def test_what_a_node_calls_itself_is_text(browser: Browser) -> None:
    shown = snapshot(Scene(8, names=(EVIL, "</button><script>document.title=1</script>"), findings=1))
    shown.nodes[0].reason = shown.findings[0].summary = shown.actions[0].reason = shown.cluster.controller_id = EVIL
    shown.nodes[0].domain = shown.cluster.domains[0].name = EVIL
    shown.findings[0].trend.CopyFrom(Trend(name=EVIL, values=[1.0], threshold=0.5))
    shown.findings[0].evidence[0].name = shown.actions[0].subject = EVIL
    board = Board()
    board.publish(shown)
    with serving(board) as served, opened(browser, served.url) as (page, witness):
        page.locator("#nodes .tile").first.click()
        for place in ("#node-line", "#findings", "#ledger", "#controller", "#domains", "#chart-title"):
            expect(page.locator(place)).to_contain_text(EVIL)
        assert page.locator("main img, main script").count() == 0
        assert page.title() != "1" and witness.complaints == []


def test_a_silent_controller_is_the_headline(browser: Browser) -> None:
    board = Board()
    board.publish(snapshot(SCENES["eight"]))
    with serving(board) as served, opened(browser, served.url) as (page, _):
        board.publish(snapshot(SCENES["eight"], 1))  # a slow browser may have opened on a silent one
        expect(page.locator("#sentence")).to_contain_text("Safe: row-a draws")
        expect(page.locator("#sentence")).to_contain_text("Controller silent for", timeout=8000)
        expect(page.locator("body")).to_have_attribute("data-level", "silent")
        board.publish(snapshot(SCENES["over"], 5))
        expect(page.locator("#sentence")).to_contain_text("Over ")
        expect(page.locator("body")).to_have_attribute("data-level", "danger")


def test_a_lost_server_is_the_headline_and_its_return_is_seen(browser: Browser) -> None:
    board = Board()
    board.publish(snapshot(SCENES["eight"]))
    with serving(board) as first, opened(browser, first.url) as (page, _):
        board.publish(snapshot(SCENES["eight"]))  # on a busy machine the page takes longer to open than a controller may be silent
        expect(page.locator("#sentence")).to_contain_text("Safe")
        first.close()
        expect(page.locator("#sentence")).to_contain_text("This page lost its controller", timeout=10_000)
        second = Served(first.address, board)
        second.start()
        expect(page.locator("#sentence")).to_contain_text("Safe", timeout=10_000)
        second.close()


def test_before_the_first_snapshot_it_waits(browser: Browser) -> None:
    with serving(Board()) as served, opened(browser, served.url) as (page, witness):
        expect(page.locator("#freshness")).to_have_text("connected")
        expect(page.locator("#sentence")).to_contain_text("Waiting for the controller")
        assert witness.complaints == []


@pytest.mark.parametrize("scene", ["eight", "findings", "thousand"])
def test_all_of_it_is_in_sight_on_a_desk(browser: Browser, scene: str) -> None:
    with playing(SCENES[scene]) as served, opened(browser, served.url) as (page, _):
        expect(page.locator("#nodes .tile")).to_have_count(SCENES[scene].nodes)
        room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert room == [1280, 800]
        last = page.locator("#nodes .tile").last
        expect(last).to_be_in_viewport()


@pytest.mark.parametrize("scene", ["findings", "thousand"])
def test_a_phone_never_scrolls_sideways(browser: Browser, scene: str) -> None:
    with playing(SCENES[scene]) as served, opened(browser, served.url, 360, 740) as (page, _):
        expect(page.locator("#nodes .tile")).to_have_count(SCENES[scene].nodes)
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_keys_walk_the_nodes_and_tell_each_ones_reason(browser: Browser) -> None:
    with playing(SCENES["eight"]) as served, opened(browser, served.url) as (page, _):
        page.locator("#nodes .tile").first.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#node-line")).to_contain_text("node-1")
        expect(page.locator("#node-line")).to_contain_text("capped to 610 W a GPU")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#node-line")).to_contain_text("node-0")


def test_the_theme_can_be_switched_and_is_kept(browser: Browser) -> None:
    with playing(SCENES["eight"]) as served, opened(browser, served.url) as (page, witness):
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light != dark
        assert witness.complaints == []


def test_one_of_several_rows_can_be_chosen(browser: Browser) -> None:
    with playing(SCENES["thousand"]) as served, opened(browser, served.url) as (page, _):
        expect(page.locator("#chart-title")).to_have_text("Power of row-a")
        page.locator('.domain[data-domain="row-c"]').click()
        expect(page.locator("#chart-title")).to_have_text("Power of row-c")
        expect(page.locator('.domain[data-domain="row-c"]')).to_have_attribute("aria-pressed", "true")
