"""What the controller knows of one node, from its limiter's sealed reports."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from gpuwarden.controller.power.columns import Column, Numbers, beginnings
from gpuwarden.controller.power.exposure import Exposure
from gpuwarden.controller.power.level import SETTLING_S
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.seal import HIGHEST_EPOCH, Forged, Way, unseal
from gpuwarden.proto.lease_pb2 import CardReport, GrantInForce, PowerReport

REPORT_VERSION = 1
PEAK_HALF_LIFE_S = 30.0
START_AGAIN_S = 10.0  # longer than any lease by default, so that a limiter whose state was lost is heard again
RETIRED_STARTS = 16
HIGHEST_HZ = 1e10
SAME_W = 1.0  # drivers round limits to less
RISING_S = 0.5  # a step up says so long that more is behind it; by then later readings have shown how much
NOT_ASKED = -1
FIRST_LAG_S = 1.0  # before anything is measured: three times what is asked of the way to the last of eight cards
LAG_HALF_LIFE_S = 600.0
PRESSES_RATIO = 0.9  # a card that draws this share of its limit is held back by it, as far as its sensor tells
URGENT_RATIO = 0.05  # a power step of this share of the default limit does not wait for the tick


class Refused(Exception):
    """A report that may not count: the field and the reason."""


@dataclass(slots=True)
class NodeRecord:
    """One node. Watts are sums over its GPUs; times are the controller's monotonic clock."""

    name: str
    made: NodeClass
    key: bytes
    exposure: Exposure
    row: Numbers = field(default_factory=lambda: beginnings(NodeRecord, 1)[:, 0])
    session: int | None = None
    agent_version: str = ""
    report: PowerReport | None = None
    card_count: int = 0  # of that report
    sequence: int = 0
    power_before_w: float = math.nan  # of the reading reported before the newest
    moved_s: float = -math.inf
    asked: int = NOT_ASKED  # sequence of the newest grant whose limits have yet to be confirmed
    asked_s: float = math.nan
    timed_s: float = -math.inf
    raised: int = 0  # sequence of the newest grant that raised it
    reason: str = ""
    clock_reason: str = ""
    resumed: bool = False  # its grant in force was another controller's, or ours before a restart
    refused: int = 0
    retired: list[str] = field(default_factory=list)

    received_s = Column(0, -math.inf)
    granted_w = Column(1, 0.0)
    clock_hz = Column(2, 0.0)  # that its clocks are granted to run at; 0: they are not locked
    clock_max_hz = Column(3, 0.0)  # that they can be locked to; 0: they cannot
    overshoots_until_s = Column(4, -math.inf)  # after a raise; inf: it may yet arrive
    peak_w = Column(5, math.nan)
    power_w = Column(6, math.nan)  # newest reading; NaN if a card does not answer
    limit_w = Column(7, math.nan)  # as read back
    rise_w = Column(8, 0.0)  # of the newest step up
    rose_s = Column(9, -math.inf)
    lag_s = Column(10, FIRST_LAG_S)  # from a grant to the report that its limits are in force, the highest of lately
    unanswered = Column(11, 0.0)  # 1 until the newest report has had its grant
    pressing = Column(12, 0.0)  # share of its limit that cards have which press against theirs; the highest since a raise, as long as that is unpaid
    unpaid_s = Column(13, 0.0)  # of the overshoot of its newest raise, what has yet to be counted as heat
    heard_s = Column(14, -math.inf)  # when the newest report came, in a session that still stands
    found_age_s = Column(15, math.inf)  # of the newest grant of whoever was the controller before us: how old it was when we first heard of it
    found_peak_w = Column(16, math.nan)  # drawn since that grant, at most; inf: anything

    def opened(self, session: int, agent_version: str) -> None:
        self.session, self.agent_version, self.heard_s = session, agent_version, self.received_s

    def closed(self) -> None:
        self.session, self.heard_s = None, -math.inf

    def live(self, now_s: float, stale_s: float) -> bool:
        return now_s - self.heard_s <= stale_s

    def standing_w(self, now_s: float) -> float:
        """The limit that it has by our word: the granted one, unless its lease has ended."""
        return min(self.granted_w, self.exposure.counted(now_s)[0])

    def take(self, now_s: float, sealed: bytes, epoch: int) -> bool:
        """Takes a sealed report in; Refused if it may not count. True if it should not wait for the next tick."""
        report = self._opened(now_s, sealed)
        cards = list(report.cards)
        power_w = math.fsum([card.power_w for card in cards])
        urgent = self._urgent(now_s, power_w)
        if self.report is not None and report.limiter_start != self.report.limiter_start:
            self.retired = [*self.retired, self.report.limiter_start][-RETIRED_STARTS:]
        self._follow_peak(now_s, power_w)
        self._follow_rise(now_s, power_w)
        self._follow_lag(now_s, report)
        self.clock_max_hz = report.clock_max_hz
        self.limit_w = math.fsum([card.enforced_w for card in cards])
        requested_w = math.fsum([card.requested_w for card in cards])
        self._follow_raise(now_s, report, requested_w, epoch)
        self._follow_pressing(cards)
        if power_w != self.power_w:
            self.power_before_w, self.power_w, self.moved_s = self.power_w, power_w, now_s
        self.report, self.card_count, self.received_s, self.unanswered = report, len(cards), now_s, 1.0
        self.heard_s = now_s if self.session is not None else -math.inf
        if report.HasField("grant") and report.grant.epoch < epoch:
            self._find(report.grant, epoch)
        unknown = not self.exposure.known
        self.exposure.reported(now_s, report, epoch)
        if unknown and self.exposure.known and report.HasField("grant"):
            self.granted_w, self.resumed = math.fsum(report.grant.limits_w), True
            self.clock_hz = max(report.clocks_hz, default=0.0)
        return urgent

    def _opened(self, now_s: float, sealed: bytes) -> PowerReport:
        try:
            report = PowerReport.FromString(unseal(self.key, Way.UP, self.name, sealed))
        except Forged as why:
            raise Refused(str(why)) from None
        except DecodeError:
            raise Refused("payload: is no power report") from None
        _check(report, self.made)
        if report.limiter_start in self.retired:
            raise Refused(f"limiter_start: {report.limiter_start!r} has ended before")
        if self.report is not None:
            self._check_newer(now_s, report, self.report)
        return report

    def _check_newer(self, now_s: float, report: PowerReport, last: PowerReport) -> None:
        """An earlier start has obeyed less: it does not take the place of one that we have just heard."""
        if report.limiter_start == last.limiter_start:
            if report.sequence <= last.sequence:
                raise Refused(f"sequence: {report.sequence} came already, the newest is {last.sequence}")
        elif report.epoch < last.epoch and now_s - self.received_s < START_AGAIN_S:
            raise Refused(f"epoch: {report.limiter_start!r} has obeyed {report.epoch}, {last.limiter_start!r} had obeyed {last.epoch}")

    def _urgent(self, now_s: float, power_w: float) -> bool:
        if math.isnan(power_w) or math.isnan(self.power_w):
            return math.isnan(power_w) != math.isnan(self.power_w)
        return any(abs(power_w - then_w) > self._step_w for then_w in self._just_before_w(now_s))

    def _just_before_w(self, now_s: float) -> tuple[float, ...]:
        """What a step is measured from. For a moment the last two readings: a report that left as a step began would make two small ones of it."""
        return (self.power_w, self.power_before_w) if now_s - self.moved_s < RISING_S else (self.power_w,)

    @property
    def _step_w(self) -> float:
        return URGENT_RATIO * self.made.gpus * self.made.default_w

    def _follow_rise(self, now_s: float, power_w: float) -> None:
        rise_w = power_w - min(self._just_before_w(now_s))
        if rise_w > self._step_w:
            self.rise_w, self.rose_s = rise_w, now_s

    def _follow_raise(self, now_s: float, report: PowerReport, requested_w: float, epoch: int) -> None:
        """However late a raise arrives, it overshoots from then on, also where it has been overtaken by a cut that has yet to arrive; and whoever has
        no lease is raised by the next grant. Outside auto nothing of ours is requested."""
        past = self.raised == 0 or (report.grant.epoch == epoch and report.grant.sequence >= self.raised)
        arrived = requested_w >= self.granted_w - SAME_W and report.HasField("grant") and past
        if self.exposure.known and not arrived:
            self.overshoots_until_s = math.inf
        elif self.overshoots_until_s == math.inf and arrived and report.HasField("confirmed_for_s"):
            self.overshoots_until_s = now_s + SETTLING_S

    def _follow_pressing(self, cards: Sequence[CardReport]) -> None:
        """Only a card that its limit holds back overshoots a higher one, and by then its next reading no longer shows that it was held back."""
        pressing_w = math.fsum(card.enforced_w for card in cards if card.power_w >= PRESSES_RATIO * card.enforced_w)
        share = pressing_w / self.limit_w if self.limit_w > 0 else 1.0
        self.pressing = max(share, self.pressing) if self.unpaid_s > 0.0 else share

    def _find(self, grant: GrantInForce, epoch: int) -> None:
        """What a grant tells that is not ours. What the ledger knows of the last controller is of the epoch before ours."""
        if grant.HasField("age_s") and grant.epoch == epoch - 1:
            self.found_age_s = min(self.found_age_s, grant.age_s)
        peak_w = grant.peak_w if grant.HasField("peak_w") else math.inf
        self.found_peak_w = peak_w if math.isnan(self.found_peak_w) else max(self.found_peak_w, peak_w)

    def _follow_peak(self, now_s: float, power_w: float) -> None:
        faded_w = self.peak_w * 0.5 ** ((now_s - self.received_s) / PEAK_HALF_LIFE_S)
        self.peak_w = power_w if math.isnan(faded_w) else max(power_w, faded_w)

    def numbers_grant(self, now_s: float, raises: bool, changes: bool) -> None:
        """A grant is about to leave; whether its limit is above the one that stands, and another than that of the grant before."""
        self.sequence += 1
        if raises:
            self.raised = self.sequence
        if changes:
            self.asked, self.asked_s = self.sequence, now_s

    def released(self, lease_s: float) -> None:
        """That grant takes the node out of auto."""
        assert self.report is not None, "only a live node is granted anything"
        self.exposure.released(self.sequence, self.report.stamp_s, lease_s)

    def _follow_lag(self, now_s: float, report: PowerReport) -> None:
        """Both ends on our clock. The highest counts, and fades, so that one slow answer does not count for ever."""
        if report.applied.sequence != self.asked or not report.applied.set_s:
            return
        lag_s, faded_s = now_s - self.asked_s, self.lag_s * 0.5 ** ((now_s - self.timed_s) / LAG_HALF_LIFE_S)
        self.lag_s, self.asked, self.timed_s = max(lag_s, faded_s), NOT_ASKED, now_s


def _check(report: PowerReport, made: NodeClass) -> None:
    """The door: whatever passes is trusted from here on."""
    if report.version != REPORT_VERSION:
        raise Refused(f"version: is {report.version}, this controller knows {REPORT_VERSION}")
    if report.epoch > HIGHEST_EPOCH:
        raise Refused(f"epoch: is {report.epoch}, above {HIGHEST_EPOCH}")
    if not 0 < len(report.cards) <= made.gpus:
        raise Refused(f"cards: are {len(report.cards)}, class {made.name!r} has {made.gpus}")
    if not report.floor_w <= made.floor_w:
        raise Refused(f"floor_w: the limiter's is {report.floor_w:g} W, class {made.name!r} counts on {made.floor_w:g} W")
    if not 0 <= report.clock_max_hz <= HIGHEST_HZ or not all(0 <= clock_hz <= HIGHEST_HZ for clock_hz in report.clocks_hz):
        raise Refused(f"clock_max_hz, clocks_hz: each should be 0 to {HIGHEST_HZ:g} Hz")
    if not (0 <= report.grant.age_s < math.inf and report.grant.peak_w >= 0):
        raise Refused(f"grant: is {report.grant.age_s:g} s old, and {report.grant.peak_w:g} W were drawn since")
    for card in report.cards:
        power_w, enforced_w = card.power_w, card.enforced_w
        if power_w < 0 or enforced_w < 0 or math.isinf(power_w) or math.isinf(enforced_w):
            raise Refused(f"cards: {card.uuid} reports {power_w:g} W under a limit of {enforced_w:g} W")
        if card.default_w > made.default_w:
            raise Refused(f"cards: {card.uuid} has a default of {card.default_w:g} W, class {made.name!r} says {made.default_w:g} W")
