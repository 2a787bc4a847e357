"""What comes from the findings topic is a finding, or is refused with the field and the reason."""

import math

import pytest

from gpuwarden.controller.finding_opened import MOST_NAME_CHARS, MOST_VALUES, opened
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Trend


def finding(trend: Trend) -> bytes:
    return Finding(version=1, id="a", kind="node_unlike_itself", state=FindingState.FINDING_STATE_FIRING, trend=trend).SerializeToString()


def test_a_trend_may_have_minutes_that_nobody_knows_and_as_many_as_are_held() -> None:
    values = opened(finding(Trend(name="n" * MOST_NAME_CHARS, values=[math.nan] * MOST_VALUES, threshold=1.0))).trend.values
    assert len(values) == MOST_VALUES and all(map(math.isnan, values))


@pytest.mark.parametrize(
    ("trend", "says"),
    [
        (Trend(values=[1.0] * (MOST_VALUES + 1)), f"trend.values: are {MOST_VALUES + 1}, should be {MOST_VALUES} at most"),
        (Trend(values=[1.0, -math.inf]), "trend.values: one is infinite"),
        (Trend(values=[1.0], threshold=math.nan), "trend.threshold: is nan, should be a number"),
        (Trend(name="n" * (MOST_NAME_CHARS + 1)), f"trend.name: has {MOST_NAME_CHARS + 1} characters"),
    ],
)
def test_a_trend_that_cannot_be_is_refused_with_its_field(trend: Trend, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        opened(finding(trend))


def test_one_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version: is 2, this controller knows 1"):
        opened(Finding(version=2, id="a", kind="k").SerializeToString())
