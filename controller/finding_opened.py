"""A record of the findings topic, opened: what passes may be trusted to be a finding."""

from typing import Final

from google.protobuf.message import DecodeError

from gpuwarden.proto.finding_pb2 import Finding, FindingState

FINDING_VERSION: Final = 1


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
    return finding
