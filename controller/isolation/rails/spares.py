"""A job that could not start again without the node keeps it, unless a person says otherwise: half a loaf is better than none."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, ask
from gpuwarden.controller.schedulers.scheduler import Availability


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is not WishKind.DRAIN or facts.truth is None:
        return None
    out = facts.out(shadow=wish.shadow) | {wish.node}
    usable = {name for name, node in facts.truth.nodes.items() if node.availability is Availability.AVAILABLE and name not in out}
    spare = {name for name in usable if not facts.jobs_on(name)}
    for job in facts.running_on(wish.node):
        left = len(set(job.nodes) & usable | spare)
        if left < job.nodes_min:
            return ask(f"job {job.job} needs {job.nodes_min} nodes, and {left} would be left for it, spares included")
    return None
