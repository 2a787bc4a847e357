"""A record of the findings topic, opened: what passes may be trusted to be a finding."""

import math
from typing import Final

from google.protobuf.message import DecodeError

from gpuwarden.proto.finding_pb2 import Finding, FindingState, Trend

FINDING_VERSION: Final = 1
MOST_VALUES: Final = 120  # of a trend; thousands of findings are held, and sent on
MOST_NAME_CHARS: Final = 100


def opened(payload: bytes) -> Finding:
    """ValueError with the field and the reason."""
    try:
        finding = Finding.FromString(payload)
    except DecodeError:
        raise ValueError("finding: does not parse") from None
    if finding.version != FINDING_VERSION:
        raise ValueError(f"version: is {finding.version}, this controller knows {FINDING_VERSION}")
    if not finding.id or not finding.kind:
        raise ValueError("id, kind: must not be empty")
    if finding.state not in (FindingState.FINDING_STATE_FIRING, FindingState.FINDING_STATE_RESOLVED):
        raise ValueError(f"state: is {finding.state}, should be firing or resolved")
    if finding.HasField("trend"):
        _check(finding.trend)
    return finding


def _check(trend: Trend) -> None:
    if len(trend.name) > MOST_NAME_CHARS:
        raise ValueError(f"trend.name: has {len(trend.name)} characters, should have {MOST_NAME_CHARS} at most")
    if len(trend.values) > MOST_VALUES:
        raise ValueError(f"trend.values: are {len(trend.values)}, should be {MOST_VALUES} at most")
    if any(map(math.isinf, trend.values)):
        raise ValueError("trend.values: one is infinite; what is not known is NaN")
    if not math.isfinite(trend.threshold):
        raise ValueError(f"trend.threshold: is {trend.threshold}, should be a number")
