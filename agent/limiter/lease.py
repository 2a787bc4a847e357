"""A grant at the limiter's door: opened, checked against what went before, and turned into a lease on the boot clock."""

import math
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from gpuwarden.core.seal import HIGHEST_EPOCH, Forged, Way, unseal
from gpuwarden.proto.lease_pb2 import Grant, Mode

GRANT_VERSION = 1
LEASE_LIMIT_S = 60.0
HIGHEST_HZ = 1e10
MODES = (Mode.MODE_OBSERVE, Mode.MODE_NOTIFY, Mode.MODE_AUTO)


class Refused(Exception):
    """A directive that is not obeyed: the field and the reason."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Limits and locks that hold until `ends_s` of the boot clock. W per card, within each card's range; Hz per card."""

    grant: Grant
    limits_w: tuple[float, ...]
    clocks_hz: tuple[float, ...]  # 0: not locked
    ends_s: float


@dataclass(frozen=True, slots=True)
class Past:
    """What a new grant is held against."""

    node: str
    limiter_start: str
    epoch: int
    newest: Lease | None  # obeyed last, whether or not it still runs
    cards: int
    first_stamp_s: float  # of the oldest report that may be answered: of this start, and since a lease last ended
    last_stamp_s: float  # of the newest report sent


def accept(sealed: bytes, key: bytes, past: Past, now_s: float) -> Grant:
    """The grant if it may be obeyed at all, else Refused."""
    try:
        grant = Grant.FromString(unseal(key, Way.DOWN, past.node, sealed))
    except Forged as why:
        raise Refused(str(why)) from None
    except DecodeError:
        raise Refused("grant: does not parse") from None
    _check_form(grant, past)
    _check_order(grant, past, now_s)
    return grant


def _check_form(grant: Grant, past: Past) -> None:
    if grant.version != GRANT_VERSION:
        raise Refused(f"version: is {grant.version}, this limiter knows {GRANT_VERSION}")
    if grant.node != past.node:
        raise Refused(f"node: is {grant.node!r}, this is {past.node!r}")
    if grant.mode not in MODES:
        raise Refused(f"mode: is {grant.mode}, should be observe, notify or auto")
    if grant.epoch > HIGHEST_EPOCH:
        raise Refused(f"epoch: is {grant.epoch}, above {HIGHEST_EPOCH}")
    if len(grant.limits_w) != past.cards:
        raise Refused(f"limits_w: are {len(grant.limits_w)}, this node has {past.cards} cards")
    if not all(math.isfinite(limit_w) and limit_w > 0 for limit_w in grant.limits_w):
        raise Refused("limits_w: each should be above 0 W")
    if len(grant.clocks_hz) not in (0, past.cards):
        raise Refused(f"clocks_hz: are {len(grant.clocks_hz)}, this node has {past.cards} cards")
    if not all(0 <= clock_hz <= HIGHEST_HZ for clock_hz in grant.clocks_hz):
        raise Refused(f"clocks_hz: each should be 0 to {HIGHEST_HZ:g} Hz")
    if not 0 < grant.lease_s <= LEASE_LIMIT_S:
        raise Refused(f"lease_s: is {grant.lease_s:g}, should be above 0 and at most {LEASE_LIMIT_S:g}")


def _check_order(grant: Grant, past: Past, now_s: float) -> None:
    if grant.echo_limiter_start != past.limiter_start:
        raise Refused(f"echo_limiter_start: answers a report of {grant.echo_limiter_start!r}, this start is {past.limiter_start!r}")
    if now_s >= (ends_s := grant.echo_stamp_s + grant.lease_s):  # in any mode: what is kept back and told later orders nothing
        raise Refused(f"lease_s: the grant's {grant.lease_s:g} s ended {now_s - ends_s:.3f} s ago")
    if not past.first_stamp_s <= grant.echo_stamp_s <= past.last_stamp_s:
        raise Refused(f"echo_stamp_s: {grant.echo_stamp_s:.3f} is no report of this limiter since it started or went to its floor")
    if grant.epoch < past.epoch:
        raise Refused(f"epoch: is {grant.epoch}, {past.epoch} has been obeyed")
    if (newest := past.newest) is None:
        return
    same = grant.controller_id == newest.grant.controller_id
    if not same and now_s < newest.ends_s:
        raise Refused(f"controller_id: a lease of {newest.grant.controller_id!r} runs, {grant.controller_id!r} has to wait")
    if same and grant.epoch == newest.grant.epoch and grant.sequence <= newest.grant.sequence:
        raise Refused(f"sequence: is {grant.sequence}, {newest.grant.sequence} has been obeyed")
    if grant.echo_stamp_s < newest.grant.echo_stamp_s:
        raise Refused(f"echo_stamp_s: is {grant.echo_stamp_s:.3f}, an answer to {newest.grant.echo_stamp_s:.3f} has been obeyed")
