"""Whether PodDisruptionBudgets let all pods of a job go at once: it is asked before the first is evicted, so that no job is torn."""

from collections.abc import Sequence

from gpuwarden.controller.schedulers.kubernetes_api import Row
from gpuwarden.controller.schedulers.kubernetes_rows import condition, labels, must, name, optional, spec


def refusal(budgets: Sequence[Row], pods: Sequence[Row]) -> str:
    """Which budget lets too few of them go; empty where none does. Those that are not ready are left to the API server, whose rules for them differ."""
    over = [{name(budget) for budget in budgets if covers(budget, pod)} for pod in pods]
    if twice := next((found for found in over if len(found) > 1), None):  # the API server answers 500 to that, always
        return f"PodDisruptionBudgets {' and '.join(sorted(twice)[:2])} are over one pod, which cannot be evicted then"
    ready = [pod for pod in pods if condition(pod, "Ready").get("status") == "True"]
    for budget in budgets:
        covered = [pod for pod in ready if covers(budget, pod)]
        allowed = optional(optional(budget, "status", dict), "disruptionsAllowed", int)
        if len(covered) > allowed:
            return f"PodDisruptionBudget {name(budget)} lets {allowed} of its {len(covered)} pods there go"
    return ""


def covers(budget: Row, pod: Row) -> bool:
    """As a LabelSelector of policy/v1: an empty one selects all pods of its namespace, none at all selects nothing."""
    selector, found = optional(spec(budget), "selector", dict), labels(pod)
    same = all(found.get(key) == value for key, value in optional(selector, "matchLabels", dict).items())
    return "selector" in spec(budget) and same and all(_holds(one, found) for one in optional(selector, "matchExpressions", list))


def _holds(one: Row, found: Row) -> bool:
    value = found.get(must(one, "key", str))
    match must(one, "operator", str):
        case "In":
            return value in optional(one, "values", list)
        case "NotIn":
            return value not in optional(one, "values", list)
        case "Exists":
            return value is not None
        case _:
            return value is None
