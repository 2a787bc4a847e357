"""Snapshots in words: folded ledger lines, evidence, the order of findings, and bounds."""

import json
import math
import time

import pytest
from web.snapshots import SCENES, Scene, snapshot

from gpuwarden.controller.web import words
from gpuwarden.controller.web.fold import fold
from gpuwarden.controller.web.view import ACTIONS, FINDINGS, view
from gpuwarden.proto.control_pb2 import Action
from gpuwarden.proto.finding_pb2 import Evidence, FindingState, Trend


@pytest.mark.parametrize(
    ("power_w", "said"),
    [(0, "0 W"), (640.4, "640 W"), (999.6, "1.0 kW"), (71_234, "71.2 kW"), (1_250_000, "1.25 MW"), (math.nan, "no reading"), (math.inf, "no reading")],
)  # fmt: skip
def test_watts_are_said_as_a_person_says_them(power_w: float, said: str) -> None:
    assert words.watts(power_w) == said


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (Evidence(name="step time", value=1.61, expected=1.31, unit="s"), "step time 1.61 s, 1.31 s expected"),
        (Evidence(name="clock", value=1185, unit="MHz"), "clock 1,185 MHz"),
        (Evidence(name="limit", value=3440, unit="W"), "limit 3.4 kW"),
        (Evidence(name="score", value=math.nan), "score unknown"),
        (Evidence(name="errors", value=0, expected=0), "errors 0, 0 expected"),
    ],
)
def test_evidence_is_words(evidence: Evidence, said: str) -> None:
    assert words.evidence(evidence) == said


def test_what_a_meter_shows_of_the_domains_own_limit_is_on_its_card() -> None:
    shown = snapshot(SCENES["eight"])
    (one,) = shown.cluster.domains
    assert view(shown)["domains"][0]["meter"] is None
    limit = one.limits.add(name=one.name, foreign_w=4200.0)
    limit.meter.power_w, limit.meter.age_s = 61_000.0, math.inf
    assert view(shown)["domains"][0]["meter"] == {"power_w": 61_000.0, "age_s": None, "silent": False, "foreign_w": 4200.0}


def test_lines_of_one_moment_and_one_reason_are_one() -> None:
    def line(subject: str, reason: str = "row is full", unix_ns: int = 5) -> Action:
        return Action(kind="cap", subject=subject, reason=reason, unix_ns=unix_ns, performed=True)

    folds = fold([line("n9", unix_ns=6), *(line(f"n{n}") for n in range(5)), line("n7", "another")])
    assert [one.who() for one in folds] == ["n9", "n0, n1 and 3 more", "n7"]


def test_what_was_done_is_never_folded_with_what_would_have_been() -> None:
    both = [Action(kind="cap", subject="n1", performed=True), Action(kind="cap", subject="n2", performed=False)]
    assert len(fold(both)) == 2


def test_firing_findings_come_first_then_the_gravest_then_the_newest() -> None:
    findings = list(snapshot(Scene(64, findings=5)).findings)
    findings[0].state = FindingState.FINDING_STATE_RESOLVED
    assert [one.kind for one in words.urgent_first(findings)] == [
        "driver-hung", "link-flapping", "temperature-drift", "ecc-trend", "fail-slow",
    ]  # fmt: skip


def test_a_flood_of_findings_and_lines_is_bounded_and_counted() -> None:
    shown = snapshot(Scene(64, findings=FINDINGS + 7))
    shown.actions.extend(Action(kind="notify", subject=f"n{n}", reason=str(n)) for n in range(300))
    seen = view(shown)
    assert len(seen["findings"]) == FINDINGS and seen["findings_left_out"] == 7
    assert len(seen["actions"]) == ACTIONS


def test_a_finding_has_the_numbers_of_its_pictures_and_a_minute_that_nobody_knows_is_none() -> None:
    shown = snapshot(Scene(findings=1))
    assert view(shown)["findings"][0]["trend"] is None
    (one,) = shown.findings
    one.trend.CopyFrom(Trend(name="score", values=[1.0, math.nan, 6.23456], threshold=2.5, until_unix_ns=60 * 10**9))
    one.evidence.append(Evidence(name="drift", value=math.nan, expected=1.0))
    one.evidence.append(Evidence(name="cards", value=8))
    seen = view(shown)["findings"][0]
    assert seen["trend"] == {"name": "score", "values": [1.0, None, 6.235], "threshold": 2.5, "until_unix_s": 60.0}
    assert [(each["seen"], each["expected"]) for each in seen["evidence"]] == [(1.61, 1.31), (1185.0, 1755.0), (None, 1.0), (8.0, None)]


def test_words_that_a_newer_detector_may_use_do_not_break_the_page() -> None:
    shown = snapshot(Scene(findings=1))
    shown.findings[0].severity = 9  # type: ignore[assignment]  # proto3 lets unknown numbers through
    assert view(shown)["findings"][0]["severity"] == "severity 9"


def test_a_thousand_nodes_are_put_into_words_in_far_less_than_the_half_second_between_looks() -> None:
    shown = snapshot(SCENES["thousand"])
    begin_s = time.perf_counter()
    text = json.dumps(view(shown), allow_nan=False, separators=(",", ":"))
    assert time.perf_counter() - begin_s < 0.25
    assert len(text) < 350_000
