"""Kafka's access control through its admin client."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from kafka.admin import (  # type: ignore[import-untyped]  # has no types
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import SecurityDisabledError  # type: ignore[import-untyped]  # has no types

from gpuwarden.core.bus import BusError
from gpuwarden.core.bus_kafka_admin import wait_until
from gpuwarden.core.bus_roles import GROUPS, TOPIC, Right

_ANYTHING: Final = ACLFilter(
    None, None, ACLOperation.ANY, ACLPermissionType.ALLOW, ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
)
_KINDS: Final = {
    (ResourceType.TOPIC, ACLResourcePatternType.LITERAL): TOPIC,
    (ResourceType.GROUP, ACLResourcePatternType.PREFIXED): GROUPS,
}
_PATTERNS: Final = {kind: pattern for pattern, kind in _KINDS.items()}


def found_rights(admin: Any) -> set[Right]:
    """Those from any host, of the kinds that gpuwarden needs; BusError if the brokers control no access at all."""
    try:
        found, _ = admin.describe_acls(_ANYTHING)
    except SecurityDisabledError as why:
        raise BusError("the brokers let everybody do everything: they have no authorizer.class.name") from why
    return set(_rights(found))


def _rights(found: Iterable[Any]) -> Iterator[Right]:
    for acl in found:
        pattern = acl.resource_pattern
        kind = _KINDS.get((pattern.resource_type, pattern.pattern_type))
        if kind is not None and acl.host == "*":
            yield Right(acl.principal, acl.operation.name, kind, pattern.resource_name)


def grant(admin: Any, rights: Collection[Right]) -> None:
    """Returns once they are in force; raises kafka-python's error for the first that the brokers refuse."""
    outcome = admin.create_acls([_acl(right) for right in rights])
    for error in outcome["failed"]:
        raise error("an access rule is refused")
    wait_until(lambda: set(rights) <= found_rights(admin), "what was given")


def _acl(right: Right) -> Any:
    resource_type, pattern_type = _PATTERNS[right.kind]
    pattern = ResourcePattern(resource_type, right.name, pattern_type)
    return ACL(right.principal, "*", ACLOperation[right.operation], ACLPermissionType.ALLOW, pattern)
