"""`gpuwarden explain finding ID`: what was seen, beside what was expected."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from gpuwarden.cli.plain_text import aligned
from gpuwarden.cli.sparkline import sparkline
from gpuwarden.controller.web import words
from gpuwarden.proto.finding_pb2 import Evidence, Finding, FindingState, Severity, Trend

_TITLE: Final = ("WHAT", "SEEN", "EXPECTED")
_MINUTE_NS: Final = 60_000_000_000


def told(finding: Finding) -> Iterator[str]:
    """A finding as lines for a terminal."""
    severity = Severity.Name(finding.severity).removeprefix("SEVERITY_").lower()
    where = "/".join(filter(None, (finding.subject.node, finding.subject.id)))
    yield f"{finding.kind} on {where}, {severity}: {finding.summary}"
    over = finding.state == FindingState.FINDING_STATE_RESOLVED
    yield f"since:    {_when(finding.since_unix_ns)}{f', resolved {_when(finding.updated_unix_ns)}' if over else ''}"
    yield f"said by:  {finding.detector} {finding.detector_version}, score {finding.score:.3g}"
    if finding.trend.values:
        yield from _trend(finding.trend)
    if finding.suggested_action:
        yield f"do:       {finding.suggested_action}"
    if finding.evidence:
        yield ""
        yield from aligned([_TITLE, *map(_cells, finding.evidence)], (1, 2))


def _trend(trend: Trend) -> Iterator[str]:
    blocks, mark = sparkline(trend.values, trend.threshold)
    first_unix_ns = max(0, trend.until_unix_ns - (len(trend.values) - 1) * _MINUTE_NS)
    yield f"trend:    {_clock(first_unix_ns)} {blocks} {_clock(trend.until_unix_ns)} UTC"
    yield f"          {trend.name}: {words.quantity(trend.values[-1], '')} at last; above {trend.threshold:.3g}, which is {mark}, it is a finding"


def _clock(unix_ns: int) -> str:
    return f"{datetime.fromtimestamp(unix_ns / 1e9, UTC):%H:%M}"


def _when(unix_ns: int) -> str:
    return f"{datetime.fromtimestamp(unix_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _cells(one: Evidence) -> tuple[str, str, str]:
    return one.name, words.quantity(one.value, one.unit), words.quantity(one.expected, one.unit) if one.HasField("expected") else ""
