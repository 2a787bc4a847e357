"""What befalls controllers."""

from collections.abc import Callable
from typing import Final

from gpuwarden.controller.events import FindingArrived
from gpuwarden.sim.safety.memory import Memory
from gpuwarden.sim.safety.restarts import REPORT_S
from gpuwarden.sim.safety.row import Row
from gpuwarden.sim.safety.sessions import RECONNECT_S
from gpuwarden.sim.safety.stage import Stage

Heal = Callable[[], None]
UNDER_WAY_S: Final = 0.3  # in which what a dying controller has sent is obeyed
LEASE_SHARE: Final = 0.99  # clocks do not run alike
ANSWERS_S: Final = 2.0  # a grant is no older than that as it is obeyed, while all is well
BRIEF_LASTS_S: Final = (20.0, 22.0)  # the longest lease twice, and what it takes to die


def killed(row: Stage) -> Heal | None:
    """In between two things that it does, or at rest."""
    row.kill(row.chance.choice([0, 0, 1, 3, 10, 30]))
    return row.start_head


def brief_restart(row: Row) -> Heal | None:
    """Away for less than a lease while all else is well: nobody's limit changes until one lease after the start."""
    takes_s = UNDER_WAY_S + RECONNECT_S + REPORT_S + row.pace.read_s + 2 * row.pace.tick_s
    if row.leases_left_s() <= takes_s:
        return None
    row.restarts.watches_power(row.time.now_s)

    def die() -> None:
        longest_s = row.leases_left_s() - takes_s
        if longest_s > 0.0:
            row.kill(0)
            row.time.after(UNDER_WAY_S, lambda: away(longest_s))

    def away(longest_s: float) -> None:
        row.restarts.begin()
        row.time.after(row.chance.uniform(0.0, longest_s), back)

    def back() -> None:
        row.start_head()
        row.time.after(LEASE_SHARE * row.site.timing.lease_s, row.restarts.end)

    row.time.after(ANSWERS_S, die)
    return lambda: None


def hung(row: Stage) -> Heal | None:
    row.head.stop()
    return row.head.go_on


def crash_loop(row: Stage) -> Heal | None:
    """Each life is shorter or longer than it takes to learn what is in force."""
    over = [False]

    def die() -> None:
        if not over[0]:
            row.kill(row.chance.choice([0, 2]))
            row.time.after(row.chance.uniform(0.2, 1.0), live)

    def live() -> None:
        if not over[0]:
            row.start_head()
            row.time.after(row.chance.uniform(0.2, 6.0), die)

    def heal() -> None:
        over[0] = True
        row.time.after(1.2, row.start_head)

    die()
    return heal


def two(row: Row) -> Heal | None:
    """A second controller on a copy of the ledger, or on none, and some or all of the agents go over to it. The first may start anew at the
    same time."""
    row.other.memory = row.head.memory.copy() if row.chance.random() < 0.5 else Memory()
    if row.chance.random() < 0.4:
        row.kill(0)
        row.start_head()
    row.other.start()
    share = row.chance.choice([0.4, 0.6, 1.0])
    gone = [node for node in range(len(row.servers)) if row.chance.random() < share]
    for node in gone:
        row.sessions.turn_to(node, row.other)

    def heal() -> None:
        row.end_head(row.other)
        for node in gone:
            row.sessions.turn_to(node, row.head)

    return heal


def older_ledger(row: Row) -> Heal | None:
    """Killed, and a backup is brought back: of now, since heats of a backup of the same epoch are the backup's (a known flaw), or of before a start."""
    backup = row.older_memory
    row.kill(0)
    if backup is not None and backup.epoch() < row.head.memory.epoch():
        row.head.memory = backup.copy()
    return row.start_head


def kafka_gone(row: Row) -> Heal | None:
    """Findings cease to come, and come all at once: nothing that is granted rests on them."""
    row.findings = False

    def heal() -> None:
        row.findings = True
        for _ in range(20):
            row.head.hear(FindingArrived(b"\x00not a finding"))

    return heal
