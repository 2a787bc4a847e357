"""What comes from outside is checked here once: findings from the bus, and what the ledger has kept. ValueError tells the field and the reason."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from gpuwarden.controller.isolation.records import (
    Case,
    Chosen,
    Effect,
    JobPast,
    NodePast,
    Numbers,
    Question,
    Record,
)
from gpuwarden.controller.isolation.signals import Scope, Signal
from gpuwarden.proto.finding_pb2 import Finding, FindingState, SubjectKind

TEXT_CHARS: Final = 400
_SCOPES: Final = {
    SubjectKind.SUBJECT_KIND_NODE: Scope.NODE, SubjectKind.SUBJECT_KIND_GPU: Scope.GPU, SubjectKind.SUBJECT_KIND_NIC: Scope.NIC,
    SubjectKind.SUBJECT_KIND_LINK: Scope.LINK, SubjectKind.SUBJECT_KIND_RANK: Scope.RANK, SubjectKind.SUBJECT_KIND_JOB: Scope.JOB,
}
_RECORDS: Final[Mapping[str, type[Any]]] = {kind.__name__: kind for kind in (Case, NodePast, JobPast, Effect, Question, Chosen, Numbers)}


def signal_of(finding: Finding) -> Signal:
    """A finding as evidence. Texts are cut: they are shown, never acted on."""
    subject = finding.subject
    scope = _SCOPES.get(subject.kind)
    if scope is None:
        raise ValueError(f"subject.kind: is {subject.kind}, should be one of a node, gpu, nic, link, rank or job")
    if not subject.node and scope is not Scope.JOB:
        raise ValueError(f"subject.node: is empty, and the subject is a {scope.value}")
    if not subject.id and scope is not Scope.NODE:
        raise ValueError(f"subject.id: is empty, and the subject is a {scope.value}")
    if finding.state not in (FindingState.FINDING_STATE_FIRING, FindingState.FINDING_STATE_RESOLVED):
        raise ValueError(f"state: is {finding.state}, should be firing or resolved")
    return Signal(
        id=finding.id, kind=finding.kind, node=subject.node, scope=scope, part=subject.id if scope is not Scope.NODE else "",
        firing=finding.state == FindingState.FINDING_STATE_FIRING, since_s=finding.since_unix_ns / 1e9,
        summary=finding.summary[:TEXT_CHARS], job=subject.id if scope is Scope.JOB else "", advice=finding.suggested_action[:TEXT_CHARS],
    )


def kept(record: Record) -> str:
    """As the ledger keeps it: JSON with the record's name."""
    return json.dumps({"record": type(record).__name__, **_plain(record)}, sort_keys=True)


def record_of(text: str) -> Record:
    """What `kept` has written. Fields that came later have their defaults; ValueError if it is nothing of ours."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as why:
        raise ValueError(f"record: is not JSON: {why}") from None
    if not isinstance(fields, dict) or fields.get("record") not in _RECORDS:
        raise ValueError(f"record: is {fields.get('record') if isinstance(fields, dict) else fields!r}, should be one of {', '.join(_RECORDS)}")
    made = _made(_RECORDS[fields.pop("record")], fields, "record")
    return typing.cast(Record, made)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _made(kind: Any, value: Any, where: str) -> Any:
    """`value`, as this type; ValueError names where it is not."""
    if isinstance(kind, types.UnionType):
        return None if value is None else _made(kind.__args__[0], value, where)
    if typing.get_origin(kind) is tuple:
        return tuple(_made(typing.get_args(kind)[0], one, f"{where}[{number}]") for number, one in enumerate(_checked(list, value, where)))
    if dataclasses.is_dataclass(kind):
        return _filled(kind, _checked(dict, value, where), where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"{where}: is {value!r}, should be one of {', '.join(str(one.value) for one in kind)}") from None
    return _checked((int, float) if kind is float else kind, value, where)


def _filled(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    if strange := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{where}.{strange[0]}: is unknown")
    for field in dataclasses.fields(kind):
        if field.name not in value and field.default is dataclasses.MISSING:
            raise ValueError(f"{where}.{field.name}: is missing")
    return kind(**{name: _made(hints[name], one, f"{where}.{name}") for name, one in value.items()})


def _checked(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: is {value!r}, which is no {getattr(kind, '__name__', 'number')}")
    return value
