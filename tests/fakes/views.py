"""What a policy sees of a domain, made from a few words."""

from collections.abc import Sequence

import numpy as np

from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.level import Watts
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.ranks import ranks_of


def row_of(*classes: tuple[str, int, str], rating_w: float, names: tuple[str, ...] = ("low", "high"), **more: object) -> DomainConfig:
    """A row whose classes are (priority, nodes, workload)."""
    made = tuple(
        NodeClass(f"class-{place}", (f"c{place}n[1-{nodes}]",), priority=priority, workload=workload)
        for place, (priority, nodes, workload) in enumerate(classes)
    )
    return DomainConfig("row", rating_w, made, policy="headroom", priorities=names, **more)  # type: ignore[arg-type]  # a test's keywords


def seen(domain: DomainConfig, power_w: Watts | Sequence[float], most_w: Watts | None = None, **more: object) -> RowView:
    """The domain's own limit, with these GPU powers (one a node) under limits that are obeyed; cold, and answered within 2 s."""
    tree, power_w = domain.tree(), np.asarray(power_w, float)
    level, known_w = tree.root, np.where(np.isnan(power_w), tree.default_w, power_w)
    ranks = ranks_of(domain.priorities, domain.classes)
    view: dict[str, object] = {
        "level": level, "ratings_w": level.ratings_w, "most_w": tree.default_w if most_w is None else most_w, "least_w": tree.floor_w, "drawn_w": power_w,
        "power_w": power_w, "limit_w": tree.default_w, "rise_w": np.zeros(len(power_w)), "load_w": level.other_w + level.sums(level.draws_w(known_w)),
        "bears_w": 1.4 * level.ratings_w, "priority": ranks.priority, "training": ranks.training, "lockable": np.zeros(len(power_w), bool), "lag_s": 2.0, "obeyed": True, "ramp_w_per_s": np.inf,
    }
    return RowView(**{**view, **more})  # type: ignore[arg-type]  # a test's keywords
