"""Who gives first, as the operator writes it."""

import numpy as np
import pytest
from fakes.views import row_of, seen

from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.core.config import ConfigError, parse

HEAD = {"name": "row", "rating_w": 200e3}


def problems(*classes: dict[str, object], **domain: object) -> str:
    made = [{"name": f"c{place}", "nodes": [f"c{place}n[1-4]"], **one} for place, one in enumerate(classes)]
    with pytest.raises(ConfigError) as caught:
        parse({**HEAD, "classes": made, **domain}, DomainConfig)
    return str(caught.value)


def test_a_priority_that_does_not_exist_is_refused_with_those_that_do() -> None:
    said = problems({"priority": "low"}, {"priority": "midle"}, priorities=["low", "middle", "high"])
    assert "classes[1].priority: is 'midle', should be one of `priorities`: low, middle, high" in said


@pytest.mark.parametrize("names", [[], [""], ["low", "low"]])
def test_priorities_are_names_and_each_is_one(names: list[str]) -> None:
    assert "priorities: " in problems({}, priorities=names)


def test_a_workload_that_nobody_knows_is_refused() -> None:
    assert "workload: is 'trainin', should be inference or training" in problems({"workload": "trainin"})


@pytest.mark.parametrize(("policy", "workload"), [("fair-share", "training"), ("headroom", "inference")])
def test_a_ramp_that_nobody_would_keep_is_refused(policy: str, workload: str) -> None:
    assert "ramp_w_per_s: is for policy headroom" in problems({"workload": workload}, policy=policy, ramp_w_per_s=5e3)


def test_a_policy_sees_priorities_in_their_order_and_a_class_without_one_gives_last() -> None:
    names = ("spot", "batch", "chat", "search")
    view = seen(row_of(("chat", 1, "inference"), ("", 2, "training"), ("spot", 1, "inference"), rating_w=200e3, names=names), np.full(4, 3e3))
    assert view.priority.tolist() == [2, 3, 3, 0]
    assert view.training.tolist() == [False, True, True, False]
