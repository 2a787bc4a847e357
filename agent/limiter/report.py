"""The parts of a power report: a card as it is now, and the grant that it obeys; how far power has moved since another."""

import math
from collections.abc import Sequence

from gpuwarden.agent.limiter.card import Card, CardState
from gpuwarden.agent.limiter.lease import Lease
from gpuwarden.proto.lease_pb2 import CardReport, GrantInForce


def card_report(card: Card, power_w: float, limits: CardState) -> CardReport:
    return CardReport(
        uuid=card.uuid, power_w=power_w, default_w=card.default_w, min_w=card.min_w, max_w=card.max_w,
        requested_w=limits.requested_w, enforced_w=limits.enforced_w,
    )


def grant_in_force(lease: Lease, now_s: float, peak_w: float) -> GrantInForce:
    """`peak_w`: drawn since the report that it answers."""
    grant = lease.grant
    return GrantInForce(
        epoch=grant.epoch, sequence=grant.sequence, controller_id=grant.controller_id, limits_w=lease.limits_w,
        ends_in_s=lease.ends_s - now_s, age_s=now_s - grant.echo_stamp_s, peak_w=peak_w,
    )


def moved_w(now_w: Sequence[float], then_w: Sequence[float]) -> float:
    """By how much the sum of cards that answered both times has changed."""
    return abs(math.fsum(now - then for now, then in zip(now_w, then_w, strict=True) if not math.isnan(now - then)))
