"""What befalls messages, and the agents that carry them."""

from collections.abc import Callable

from gpuwarden.sim.safety.stage import Stage

Heal = Callable[[], None]


def partition(row: Stage) -> Heal | None:
    """A rack, a half or all of the row; what is sent is lost, or held back and comes late. Sessions end, or outlast it."""
    everybody = list(range(len(row.servers)))
    parts = [list(row.chance.choice(row.site.racks)), row.chance.sample(everybody, len(everybody) // 2), everybody]
    nodes, how = row.chance.choice(parts), row.chance.choice(["lost", "held"])
    for node in nodes:
        row.network.ways[node].cut = how
    return lambda: _join(row, nodes, ends=row.chance.random() < 0.5)


def _join(row: Stage, nodes: list[int], ends: bool) -> None:
    for node in nodes:
        row.network.heal(node)
        if ends:
            row.sessions.end(node)


def lost(row: Stage) -> Heal | None:
    row.network.weather.loss = row.chance.uniform(0.2, 0.9)
    return row.network.clear_up


def late(row: Stage) -> Heal | None:
    row.network.weather.late_s = row.chance.uniform(0.5, 8.0)
    return row.network.clear_up


def repeated(row: Stage) -> Heal | None:
    row.network.weather.repeats = row.chance.uniform(0.2, 1.0)
    return row.network.clear_up


def reordered(row: Stage) -> Heal | None:
    """By less than a second, and some of them twice."""
    row.network.weather.late_s, row.network.weather.repeats = row.chance.uniform(0.1, 1.0), 0.1
    return row.network.clear_up


def agent_hung(row: Stage) -> Heal | None:
    nodes = _some(row)
    for node in nodes:
        row.network.ways[node].agent = "hung"
    return lambda: _join(row, nodes, ends=row.chance.random() < 0.5)


def agent_lying(row: Stage) -> Heal | None:
    nodes = _some(row)
    for node in nodes:
        row.network.ways[node].agent, row.network.ways[node].withholds = "lying", row.chance.choice([0.4, 0.8, 1.0])
    return lambda: _join(row, nodes, ends=True)


def _some(row: Stage) -> list[int]:
    return row.chance.sample(range(len(row.servers)), row.chance.choice([1, 2, len(row.servers) // 2]))
