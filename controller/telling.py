"""Who is told of what, and when: alerts of one kind and domain as one, none while it is known why, louder when nobody answers.

Grouping, inhibition and silences follow Alertmanager's (prometheus.io/docs/alerting); escalation is PagerDuty's. Bounded by what fires.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from gpuwarden.controller.events import Notify

SHOWN_SUBJECTS = 10
_RANKS = {"critical": 2, "warning": 1}


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
    new_s: float | None = None  # since when something is there that nobody was told of
    told_s: float = 0.0
    level: int = 1
    acknowledged_by: str = ""
    last: Notify | None = None

    def newest(self, shown: list[Alert]) -> Notify:
        """What is to be said of those that show."""
        severity = max((alert.severity for alert in shown), key=lambda word: _RANKS.get(word, 0))
        began_ns = min(alert.unix_ns for alert in shown)
        if len(shown) == 1:
            (alert,) = shown
            return Notify(self.key, True, severity, alert.title, alert.text, alert.subject, began_ns, self.level)
        named = ", ".join(alert.subject for alert in shown[:SHOWN_SUBJECTS])
        more = f" and {len(shown) - SHOWN_SUBJECTS} more" if len(shown) > SHOWN_SUBJECTS else ""
        title = f"{shown[0].kind} on {len(shown)} of {shown[0].domain}"
        return Notify(self.key, True, severity, title, f"{named}{more}. {shown[0].text}", shown[0].domain, began_ns, self.level)


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

    def tick(self, now_s: float, unix_ns: int, muted: Callable[[Alert], bool]) -> Iterator[Notify]:
        """`muted`: whether an alert is known already, by maintenance or by something larger that is wrong."""
        for group in list(self.groups.values()):
            if (notice := self._due(now_s, unix_ns, group, muted)) is not None:
                group.last = replace(notice, told_unix_ns=unix_ns)
                yield group.last
            if not group.firing and not group.told:
                del self.groups[group.key]

    def _due(self, now_s: float, unix_ns: int, group: Group, muted: Callable[[Alert], bool]) -> Notify | None:
        if not group.firing:
            return _over(unix_ns, group)
        shown = [alert for alert in group.firing.values() if not muted(alert)]
        keys = frozenset(alert.key for alert in shown)
        if keys - group.told:
            return self._tell_new(now_s, group, shown, keys)
        group.new_s = None
        group.told &= group.firing.keys()  # what was resolved and comes back is new
        if not shown or not group.told or group.acknowledged_by:
            return None
        return self._tell_again(now_s, group, shown)

    def _tell_new(self, now_s: float, group: Group, shown: list[Alert], keys: frozenset[str]) -> Notify | None:
        group.new_s = now_s if group.new_s is None else group.new_s
        if now_s - group.new_s < self._timing.group_wait_s:
            return None
        group.new_s, group.told, group.told_s = None, group.told | keys, now_s
        group.level, group.acknowledged_by = 1, ""
        return group.newest(shown)

    def _tell_again(self, now_s: float, group: Group, shown: list[Alert]) -> Notify | None:
        silent_s = now_s - group.told_s
        if group.level == 1 and silent_s >= self._timing.escalate_after_s and any(a.severity == "critical" for a in shown):
            group.level = 2
            return group.newest(shown)
        if silent_s < self._timing.repeat_s:
            return None
        group.told_s = now_s
        return group.newest(shown)


def _over(unix_ns: int, group: Group) -> Notify | None:
    """Told to whoever was told that it fired."""
    if not group.told or group.last is None:
        group.told = frozenset()
        return None
    group.told = frozenset()
    last = group.last
    return Notify(group.key, False, last.severity, last.title, f"resolved: {last.text}", last.subject, unix_ns, last.level)
