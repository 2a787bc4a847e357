"""Who is told of what, and when: alerts of one kind and domain as one, none while it is known why, louder when nobody answers.

Grouping, inhibition and silences follow Alertmanager's (prometheus.io/docs/alerting); escalation is PagerDuty's. Bounded by what fires.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from gpuwarden.controller.events import Notify

SHOWN_SUBJECTS = 10
_RANKS = {"critical": 2, "warning": 1}


Judge = Callable[["Alert"], bool]


@dataclass(frozen=True, slots=True)
class TellTiming:
    """`group_wait_s`: what begins within it is told as one. `repeat_s`: what still fires is told again."""

    group_wait_s: float = 5.0
    escalate_after_s: float = 900.0
    repeat_s: float = 14_400.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong. `node` is empty for what is wrong with a domain or a rack."""

    key: str
    kind: str
    domain: str
    node: str
    severity: str
    title: str
    text: str
    subject: str
    unix_ns: int

    @property
    def group(self) -> str:
        return f"{self.domain}/{self.kind}"


@dataclass(slots=True)
class Group:
    """Alerts of one kind in one domain. Times are the controller's monotonic clock."""

    key: str
    firing: dict[str, Alert] = field(default_factory=dict)
    told: frozenset[str] = frozenset()
    hushed: frozenset[str] = frozenset()  # those told of that were muted since: they are new again when nothing mutes them
    new_s: float | None = None  # since when something is there that nobody was told of
    told_s: float = 0.0
    unanswered_since_s: float | None = None  # since when something critical is told, shown and not acknowledged
    level: int = 1
    acknowledged_by: str = ""
    last: Notify | None = None

    def show(self, muted: Judge, held: Judge) -> list[Alert]:
        """What is not muted now. What is held waits only if nobody was told of it yet."""
        loud = [alert for alert in self.firing.values() if not muted(alert)]
        self.hushed = (self.hushed | (self.firing.keys() - {alert.key for alert in loud})) & self.told
        shown = [alert for alert in loud if alert.key in self.told or not held(alert)]
        if self.acknowledged_by or not any(a.severity == "critical" and a.key in self.told - self.hushed for a in shown):
            self.unanswered_since_s = None
        return shown

    def tell(self, now_s: float, shown: list[Alert]) -> Notify:
        """Says all that shows. Escalation counts from the first word of something critical, whatever joins it later."""
        if self.acknowledged_by:
            self.level, self.acknowledged_by = 1, ""
        keys = frozenset(alert.key for alert in shown)
        self.told, self.hushed, self.new_s, self.told_s = self.told | keys, self.hushed - keys, None, now_s
        if self.unanswered_since_s is None and any(alert.severity == "critical" for alert in shown):
            self.unanswered_since_s = now_s
        return self.newest(shown)

    def over(self, unix_ns: int) -> Notify | None:
        """Told to whoever was told that it fired; what fires beside it was told to nobody, and begins anew."""
        last, self.level, self.acknowledged_by, self.unanswered_since_s = self.last, 1, "", None
        if last is None or not last.firing:
            return None
        return replace(last, firing=False, text=f"resolved: {last.text}", unix_ns=unix_ns)

    def newest(self, shown: list[Alert]) -> Notify:
        """What is to be said of those that show."""
        severity = max((alert.severity for alert in shown), key=lambda word: _RANKS.get(word, 0))
        began_ns, one = min(alert.unix_ns for alert in shown), shown[0]
        title, text, subject = (one.title, one.text, one.subject) if len(shown) == 1 else _together(shown)
        return Notify(self.key, True, severity, title, text, subject, began_ns, self.level, kind=one.kind, domain=one.domain)


def _together(shown: list[Alert]) -> tuple[str, str, str]:
    """(title, text, subject) of several as one."""
    named = ", ".join(alert.subject for alert in shown[:SHOWN_SUBJECTS])
    more = f" and {len(shown) - SHOWN_SUBJECTS} more" if len(shown) > SHOWN_SUBJECTS else ""
    return f"{shown[0].kind} on {len(shown)} of {shown[0].domain}", f"{named}{more}. {shown[0].text}", shown[0].domain


class Telling:
    """Changes come in as they happen; `tick` says what leaves now."""

    def __init__(self, timing: TellTiming) -> None:
        self.groups: dict[str, Group] = {}
        self._timing = timing

    def fires(self, alert: Alert) -> None:
        self.groups.setdefault(alert.group, Group(alert.group)).firing[alert.key] = alert

    def resolved(self, group: str, key: str) -> None:
        if group in self.groups:
            self.groups[group].firing.pop(key, None)

    def acknowledge(self, key: str, who: str) -> bool:
        """False if nobody was told of such a group. What joins it later is told all the same."""
        group = self.groups.get(key)
        if group is None or not group.told:
            return False
        group.acknowledged_by = who
        return True

    def tick(self, now_s: float, unix_ns: int, muted: Judge, held: Judge) -> Iterator[Notify]:
        """`muted`: whether an alert is known already, by maintenance or by something larger that is wrong; `held`: whether it may soon be."""
        for group in list(self.groups.values()):
            if (notice := self._due(now_s, unix_ns, group, muted, held)) is not None:
                group.last = replace(notice, told_unix_ns=unix_ns)
                yield group.last
            if not group.firing and not group.told:
                del self.groups[group.key]

    def _due(self, now_s: float, unix_ns: int, group: Group, muted: Judge, held: Judge) -> Notify | None:
        group.told &= group.firing.keys()  # what was resolved and comes back is new
        if not group.told and (over := group.over(unix_ns)) is not None:
            return over
        shown = group.show(muted, held)
        if self._escalates(now_s, group):
            group.level = 2
            return group.tell(now_s, shown)
        known = group.told - group.hushed
        if any(alert.key not in known for alert in shown):
            return group.tell(now_s, shown) if self._has_waited(now_s, group) else None
        group.new_s = None
        again = shown and not group.acknowledged_by and now_s - group.told_s >= self._timing.repeat_s
        return group.tell(now_s, shown) if again else None

    def _escalates(self, now_s: float, group: Group) -> bool:
        since_s = group.unanswered_since_s
        return group.level == 1 and since_s is not None and now_s - since_s >= self._timing.escalate_after_s

    def _has_waited(self, now_s: float, group: Group) -> bool:
        """For what may begin together with it."""
        group.new_s = now_s if group.new_s is None else group.new_s
        return now_s - group.new_s >= self._timing.group_wait_s
