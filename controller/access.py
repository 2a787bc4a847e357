"""Who may do what: the role in a caller's certificate against the least role of each method. What is not listed is denied to all.

A certificate names its holder by a URI among its subject alternative names: `spiffe://gpuwarden/ROLE/NAME`. Without TLS the
server listens on loopback only, and whoever is on this machine may do everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import grpc
from prometheus_client import Counter

from gpuwarden.controller.events import Refuse
from gpuwarden.controller.rpc_refusal import Refused

TRUST_DOMAIN: Final = "spiffe://gpuwarden/"
DENIED: Final = Counter("gpuwarden_controller_denied_total", "Calls denied for want of a role or of a seat, by reason", ["reason"])

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Role(IntEnum):
    """Each may do what those before it may; an agent may only hold its node's session."""

    AGENT = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


LEAST: Final[Mapping[str, Role]] = {
    "Session": Role.AGENT,
    "GetCluster": Role.VIEWER,
    "ListNodes": Role.VIEWER,
    "ListFindings": Role.VIEWER,
    "ListActions": Role.VIEWER,
    "ListPowerDomains": Role.VIEWER,
    "Watch": Role.VIEWER,
    "ListAlerts": Role.VIEWER,
    "AcknowledgeAlert": Role.OPERATOR,
    "OpenMaintenance": Role.OPERATOR,
    "EndMaintenance": Role.OPERATOR,
    "SetBudget": Role.OPERATOR,
    "SetMode": Role.OPERATOR,
    "SetJobFloor": Role.OPERATOR,
    "EndJobFloor": Role.OPERATOR,
    "ReportMeter": Role.OPERATOR,
    "GetIsolation": Role.VIEWER,
    "Approve": Role.OPERATOR,
    "Reject": Role.OPERATOR,
    "Cordon": Role.OPERATOR,
    "Uncordon": Role.OPERATOR,
    "SetIsolationMode": Role.OPERATOR,
}
FORCE: Final = Role.ADMIN
"""To do what the controller has just refused as unsafe."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` of an agent is its node; `told` is how the ledger names the caller."""

    role: Role
    name: str
    told: str


@dataclass(frozen=True, slots=True)
class Access:
    """`tls` is what the server was given. What a connection says of itself decides only who the caller is, never that nobody need ask."""

    tls: bool

    def caller(self, context: Context) -> Caller:
        """Refused where the certificate names no role."""
        if not self.tls:
            host, _, _ = unquote(context.peer()).rpartition(":")  # the same for a repeat on a new connection
            return Caller(Role.ADMIN, "", f"operator at {host.partition(':')[2]}")
        caller = holder(context)
        if caller is None:
            raise _denied("NO_ROLE", f"the certificate names no role: one of its URIs should be {TRUST_DOMAIN}ROLE/NAME")
        return caller

    def check(self, context: Context, method: str, *, force: bool = False) -> Caller:
        """The caller, if it may call `method` of either service; else Refused."""
        caller, least = self.caller(context), FORCE if force else LEAST[method]
        fits = caller.role is Role.AGENT if least is Role.AGENT else caller.role >= least
        if not fits and not _local(caller):
            what = f"{method} with force" if force else method
            raise _denied("ROLE_TOO_LOW", f"{caller.told} may not call {what}: that is for {least.name.lower()}s")
        return caller


def holder(context: Context) -> Caller | None:
    """Whom the certificate names, if it names a role."""
    for name in (name.decode(errors="replace") for name in context.auth_context().get("x509_subject_alternative_name", ())):
        role, slash, holder = name.removeprefix(TRUST_DOMAIN).partition("/")
        if name.startswith(TRUST_DOMAIN) and slash and holder and role.upper() in Role.__members__:
            return Caller(Role[role.upper()], holder, f"{role} {holder}")
    return None


def check_node(caller: Caller, node: str) -> None:
    """An agent speaks for its own node only."""
    if caller.name != node and not _local(caller):
        raise _denied("OTHER_NODE", f"hello.node: is {node!r}, this certificate is {caller.name!r}'s", "hello.node")


def _local(caller: Caller) -> bool:
    return not caller.name


def _denied(reason: str, message: str, field: str = "") -> Refused:
    DENIED.labels(reason).inc()
    return Refused(Refuse("PERMISSION_DENIED", reason, field, message))
