"""A domain's limits as `gpuwarden config check controller` prints them, so that a power engineer can check them by hand."""

from collections.abc import Iterator
from typing import Final

from gpuwarden.cli.plain_text import aligned
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.overgrant import Overgrant, overgrants

_TITLE: Final = ("LIMIT", "RATING", "NODES (DEAD)", "BASE", "FLOORS", "DEFAULTS", "GRANTS", "/ RATING", "SINCE")
_RIGHT: Final = range(1, len(_TITLE) - 1)


def limits_lines(config: ControllerConfig) -> Iterator[str]:
    """One table a domain, and how its numbers come about. Limits with the same numbers are one line."""
    for domain in config.domains:
        yield f"{domain.name}, kW at worst"
        yield from aligned([_TITLE, *_rows(domain, config.lease_s + max(made.settle_s for made in domain.classes))], _RIGHT)
        yield from _terms(domain)


def _rows(domain: DomainConfig, lapse_s: float) -> Iterator[tuple[str, ...]]:
    alike: dict[tuple[str, ...], list[str]] = {}
    for one in overgrants(domain, lapse_s):
        alike.setdefault(_cells(one), []).append(f"{one.limit} ({one.kind})")
    for cells, names in alike.items():
        yield names[0] + (f" and {len(names) - 1} alike" if names[1:] else ""), *cells


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
    yield "FLOORS, DEFAULTS, GRANTS: base + share x nodes, the dead ones at the driver's default"
    yield "GRANTS: how far they may add up under this limit alone, from cold, all nodes alike; seconds are twice those of a lease, of settling and of an"
    yield "overshoot: once until silence has brought all to the floor, once before, for a controller that starts anew and knows a bound on the heat alone"
