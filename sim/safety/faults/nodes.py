"""What befalls a node: its limiter, its driver, its clock, and who else is on it."""

from collections.abc import Callable

from gpuwarden.sim.safety.clock import DRIFT
from gpuwarden.sim.safety.row import Row
from gpuwarden.sim.safety.stage import Stage

Heal = Callable[[], None]


def clock_skew(row: Row) -> Heal | None:
    """Every clock runs another way from now on, and the wall clock is set wrong by hours."""
    for server in row.servers:
        server.clock.skew(1.0 + row.chance.uniform(-DRIFT, DRIFT), row.time.now_s)
    row.head.wall_ns += round(row.chance.uniform(-1e4, 1e4) * 1e9)
    return _nothing


def _nothing() -> None:
    pass


def limiter_killed(row: Stage) -> Heal | None:
    """Its unit sets the floor within a second or so, and starts it again."""
    node = row.excuses.victim(dead=True)
    if node is None:
        return None
    server = row.servers[node]
    server.end()
    row.time.after(row.chance.uniform(0.2, 1.3), lambda: server.set_by_others(row.site.classes[node].floor_w))
    return lambda: _begins_again(row, node)


def _begins_again(row: Stage, node: int) -> None:
    row.servers[node].begin()
    row.recovers(node)


def limiter_dead(row: Stage) -> Heal | None:
    """Nothing like its unit runs there: the last limits stay."""
    node = row.excuses.victim(dead=True)
    if node is None:
        return None
    row.servers[node].end()
    return lambda: _begins_again(row, node)


def limits_reset(row: Stage) -> Heal | None:
    """To the default, behind the limiter's back, again and again."""
    node = row.excuses.victim(dead=True)
    if node is None:
        return None
    over = [False]

    def again() -> None:
        if not over[0]:
            row.servers[node].set_by_others(row.site.classes[node].default_w)
            row.time.after(row.chance.uniform(0.3, 3.0), again)

    def heal() -> None:
        over[0] = True
        row.recovers(node)

    again()
    return heal


def limits_lowered(row: Stage) -> Heal | None:
    """Which the limiter undoes as well: a raise of which no controller knows."""
    node = row.excuses.victim(dead=True)
    if node is None:
        return None
    row.servers[node].set_by_others(row.site.classes[node].floor_w / 2)
    return lambda: row.recovers(node)


def rack_reboots(row: Row) -> Heal | None:
    """All at once. Each comes up with the driver's default, and is given work once its limiter has set the floor."""
    nodes = [node for node in row.chance.choice(row.site.racks) if node not in row.excuses.troubled]
    for node in nodes:
        _down(row, node)

    def heal() -> None:
        for node in nodes:
            _up(row, node, row.chance.uniform(1.5, 8.0))

    return heal


def reboots_into_work(row: Row) -> Heal | None:
    """One node that works at the driver's default before its limiter runs."""
    node = row.excuses.victim(dead=True)
    if node is None:
        return None
    _down(row, node)
    return lambda: _up(row, node, 0.0)


def _down(row: Row, node: int) -> None:
    row.excuses.troubled.add(node)
    row.servers[node].end()
    row.servers[node].hung_since_s = None
    row.cards.off[node] = True
    row.demand.park(node, True)
    row.sessions.end(node)


def _up(row: Row, node: int, idle_s: float) -> None:
    row.cards.off[node] = False
    row.servers[node].boot()
    row.time.after(idle_s, lambda: row.demand.park(node, False))
    row.recovers(node)


def driver_reloaded(row: Row) -> Heal | None:
    """Nothing works on its cards meanwhile; its limits are back at the default."""
    node = row.excuses.victim()
    if node is None:
        return None
    row.demand.park(node, True)
    row.servers[node].reload()

    def heal() -> None:
        row.demand.park(node, False)
        row.recovers(node)

    return heal


def driver_hung(row: Row) -> Heal | None:
    """It is one of the dead nodes until its controller has surely heard."""
    node = row.excuses.victim(dead=True)
    if node is None:
        return None
    row.servers[node].hang()
    row.soon_known(node)

    def heal() -> None:
        row.servers[node].answer()
        row.recovers(node)

    return heal
