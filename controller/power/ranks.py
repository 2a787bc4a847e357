"""Who gives power first when it is scarce, and who computes in step: what a policy knows of nodes besides watts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.level import Flags, Places
from gpuwarden.controller.power.node_class import NodeClass


@dataclass(frozen=True, eq=False)
class Ranks:
    """One entry a node, in the configured order. `priority` is a place in `names`: 0 gives first."""

    names: tuple[str, ...]
    priority: Places
    training: Flags


def ranks_of(names: tuple[str, ...], classes: Sequence[NodeClass]) -> Ranks:
    """A class without a priority gives last."""
    counts = [len(expand(c.nodes)) for c in classes]
    priority = [names.index(c.priority) if c.priority else len(names) - 1 for c in classes]
    return Ranks(names, np.repeat(priority, counts).astype(np.intp), np.repeat([c.workload == "training" for c in classes], counts))


def rank_problems(names: tuple[str, ...], classes: Sequence[NodeClass]) -> Iterator[str]:
    """What cannot be, each with its key."""
    if not names or "" in names or len(set(names)) < len(names):
        yield f"priorities: are {', '.join(map(repr, names)) or 'none'}, should be at least one name, each of them once"
    for place, c in enumerate(classes):
        if c.priority and c.priority not in names:
            yield f"classes[{place}].priority: is {c.priority!r}, should be one of `priorities`: {', '.join(names)}"
