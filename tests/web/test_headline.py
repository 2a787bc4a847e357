"""The one sentence: the worst that is true comes first."""

import math

import pytest
from web.snapshots import SCENES, Scene, snapshot

from gpuwarden.controller.web.headline import Level, headline
from gpuwarden.proto.control_pb2 import NodeState, WatchResponse
from gpuwarden.proto.finding_pb2 import FindingState, Severity


@pytest.mark.parametrize(
    ("scene", "level", "begin"),
    [
        ("eight", Level.SAFE, "Safe: row-a draws 47.7 kW of 58.2 kW (82 %); its caps let it draw 52.0 kW at worst."),
        ("sixty-four", Level.ATTENTION, "Within budget: row-a draws"),
        ("findings", Level.ATTENTION, "Within budget, not all in sight: row-a draws"),
        ("observe", Level.ATTENTION, "Watching only: row-a draws"),
        ("over", Level.DANGER, "Over "),
    ],
)
def test_each_scene_has_its_level(scene: str, level: Level, begin: str) -> None:
    said = headline(snapshot(SCENES[scene]))
    assert said.level == level and said.sentence.startswith(begin), said


def test_without_a_domain_nothing_is_watched() -> None:
    assert headline(WatchResponse()).level == Level.ATTENTION


def test_over_rating_outranks_everything() -> None:
    shown = snapshot(SCENES["observe"])
    shown.cluster.domains[0].rating_w = shown.cluster.domains[0].power_w * 0.9
    said = headline(shown)
    assert said.level == Level.DANGER and said.sentence.startswith("Over the rating of ")


def test_the_worst_guess_for_silent_nodes_is_not_called_over_budget_but_is_not_called_safe() -> None:
    """A fresh controller counts every node at its default, more than the budget: no alarm, and no all-clear."""
    shown = snapshot(Scene(8, load=1.2, states=dict.fromkeys(range(8), NodeState.NODE_STATE_UNKNOWN)))
    said = headline(shown)
    assert said.level == Level.ATTENTION
    assert said.sentence.startswith("Not certain: row-a draws 0 W as far as we see") and "8 not heard of yet" in said.sentence


def test_a_hot_breaker_within_the_budget_is_said_and_no_alarm() -> None:
    shown = snapshot(SCENES["eight"])
    shown.cluster.domains[0].heat_ratio = 0.85
    said = headline(shown)
    assert said.level == Level.ATTENTION and said.sentence.endswith("its breaker may be at 85 % of its trip heat.")
    shown.cluster.domains[0].limits.add(name="rack-7", heat_ratio=0.85)
    assert headline(shown).sentence.endswith("the breaker of rack-7 may be at 85 % of its trip heat.")


def test_the_tightest_of_several_domains_is_named() -> None:
    shown = snapshot(Scene(8, domains=2))
    shown.cluster.domains[1].power_w = shown.cluster.domains[1].budget_w * 0.99
    assert "row-b" in headline(shown).sentence


def test_a_worst_case_that_is_not_known_yet_is_not_spoken_of() -> None:
    shown = snapshot(SCENES["eight"])
    shown.cluster.domains[0].counted_w = math.nan
    assert "at worst" not in headline(shown).sentence


def test_resolved_findings_ask_for_nobody() -> None:
    shown = snapshot(Scene(findings=1))
    assert shown.findings[0].severity == Severity.SEVERITY_CRITICAL
    assert headline(shown).sentence.endswith("1 critical finding asks for you.")
    shown.findings[0].state = FindingState.FINDING_STATE_RESOLVED
    assert headline(shown).level == Level.SAFE


def test_questions_of_isolation_and_its_end_come_before_findings() -> None:
    shown = snapshot(SCENES["sixty-four"])
    shown.isolation.questions.add(id="a1", would_have=True)
    assert not headline(shown).sentence.endswith("for your answer.")
    shown.isolation.questions.add(id="a2")
    assert headline(shown).sentence.endswith("; 1 question waits for your answer.")
    shown.isolation.questions.add(id="a3")
    assert headline(shown).sentence.endswith("; 2 questions wait for your answer.")
    shown.isolation.stopped = "its thread has ended"
    assert headline(shown).sentence.endswith("; isolation has stopped: its thread has ended.")
