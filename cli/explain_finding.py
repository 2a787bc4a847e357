"""`gpuwarden explain finding ID`: what was seen, beside what was expected."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from gpuwarden.cli.plain_text import aligned
from gpuwarden.controller.web import words
from gpuwarden.proto.finding_pb2 import Evidence, Finding, FindingState, Severity

_TITLE: Final = ("WHAT", "SEEN", "EXPECTED")


def told(finding: Finding) -> Iterator[str]:
    """A finding as lines for a terminal."""
    severity = Severity.Name(finding.severity).removeprefix("SEVERITY_").lower()
    where = "/".join(filter(None, (finding.subject.node, finding.subject.id)))
    yield f"{finding.kind} on {where}, {severity}: {finding.summary}"
    over = finding.state == FindingState.FINDING_STATE_RESOLVED
    yield f"since:    {_when(finding.since_unix_ns)}{f', resolved {_when(finding.updated_unix_ns)}' if over else ''}"
    yield f"said by:  {finding.detector} {finding.detector_version}, score {finding.score:.3g}"
    if finding.suggested_action:
        yield f"do:       {finding.suggested_action}"
    if finding.evidence:
        yield ""
        yield from aligned([_TITLE, *map(_cells, finding.evidence)], (1, 2))


def _when(unix_ns: int) -> str:
    return f"{datetime.fromtimestamp(unix_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _cells(one: Evidence) -> tuple[str, str, str]:
    return one.name, words.quantity(one.value, one.unit), words.quantity(one.expected, one.unit) if one.HasField("expected") else ""
