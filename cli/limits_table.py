"""A domain's limits as `gpuwarden config check controller` prints them, so that a power engineer can check them by hand."""

from collections.abc import Iterator
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.overgrant import Overgrant, overgrants

LEAST_COLUMNS: Final = 112


def print_limits(config: ControllerConfig, console: Console) -> None:
    """One table a domain, and how the numbers come about."""
    console.width = max(console.width, LEAST_COLUMNS)  # numbers that are folded help nobody
    for domain in config.domains:
        console.print(_table(domain, config.lease_s + max(made.settle_s for made in domain.classes)))
        for line in _terms(domain):
            console.print(line, style="dim", highlight=False)


def _table(domain: DomainConfig, lapse_s: float) -> Table:
    table = Table(title=f"{domain.name}, kW at worst", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("limit", min_width=20)
    for name in ("rating", "nodes (dead)", "base", "floors", "defaults", "grants", "/ rating"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("since", min_width=20)
    alike: dict[tuple[str, ...], list[str]] = {}
    for one in overgrants(domain, lapse_s):
        alike.setdefault(_cells(one), []).append(f"{one.limit} ({one.kind})")
    for cells, names in alike.items():
        table.add_row(names[0] + (f" and {len(names) - 1} alike" if names[1:] else ""), *cells)
    return table


def _cells(one: Overgrant) -> tuple[str, ...]:
    rating, base, floors, defaults, grants = (
        f"{watts / 1e3:,.1f}" for watts in (one.rating_w, one.base_w, one.floors_w, one.defaults_w, one.grants_w)
    )
    return rating, f"{one.node_count} ({one.dead_count})", base, floors, defaults, grants, f"{one.grants_w / one.rating_w:.2f}", one.why


def _terms(domain: DomainConfig) -> Iterator[str]:
    for c in domain.classes:
        floor_w, default_w = (c.draw_w(c.gpus * limit_w) for limit_w in (c.floor_w, c.default_w))
        yield (
            f"a node of class {c.name}: {c.base_w:,.0f} + {c.slope:g} x {1 + c.gain_error:g} x {c.gpus} x limit = {floor_w:,.0f} W at its floor of "
            f"{c.floor_w:g} W a GPU, {default_w:,.0f} W at the driver's default of {c.default_w:g} W"
        )
    yield (
        "floors, defaults, grants: base + share x nodes, the dead ones at the driver's default. Grants is how far they may add up under this limit "
        "alone, from cold, all nodes alike."
    )
