"""Which share of whose draw goes through which limit, and trees that cannot be."""

import re

import numpy as np
import pytest
from fakes.trees import two_feeds

from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.topology import ReplacedLimit
from gpuwarden.core.config import ConfigError, parse

GOOD = {"name": "row", "rating_w": 100e3, "classes": [{"name": "h", "nodes": ["n[1-8]"]}]}
RACKS = [{"name": "r1", "rating_w": 50e3, "nodes": ["n[1-4]"]}, {"name": "r2", "rating_w": 50e3, "nodes": ["n[5-8]"]}]


def test_draws_flow_from_racks_through_feeds() -> None:
    branches = {branch.name: branch for branch in two_feeds().topology().branches()}
    assert branches["a1"].shares.tolist() == [0] * 4 + [0.5] * 4 + [0] * 4
    assert branches["a"].shares.tolist() == [0.5] * 12 and branches["a"].other_w == 900.0
    assert branches["row"].shares.tolist() == [1.0] * 12 and branches["row"].other_w == 1300.0


def test_what_a_lost_feed_carried_goes_through_the_other() -> None:
    branches = {branch.name: branch for branch in two_feeds().topology().branches()}
    assert branches["b after a lost"].shares.tolist() == [1.0] * 12
    assert branches["b after a lost"].limit.rating_w == 80e3
    assert branches["b1 after a lost"].shares.tolist() == [0] * 4 + [1.0] * 4 + [0] * 4
    assert not any(name.startswith("a") and "after a lost" in name for name in branches)


def test_a_node_that_hangs_on_the_lost_feed_alone_draws_nothing_then() -> None:
    made = {**GOOD, "limits": RACKS, "contingencies": [{"name": "r1 lost", "lost": ["r1"]}]}
    branches = parse(made, DomainConfig).topology().branches()
    assert [branch.name for branch in branches] == ["r1", "r2", "row"], "nobody has more to carry"


def test_limits_that_share_no_node_are_one_level_and_the_domain_is_the_last() -> None:
    tree = two_feeds().tree()
    assert tree.levels[-1].names == ("row",)
    for level in tree.levels:
        assert len(set(level.nodes.tolist())) == len(level.nodes)
    assert sorted(tree.limit_names) == sorted(branch.name for branch in two_feeds().topology().branches())


def test_three_phases_of_a_third_are_one() -> None:
    """What is lost by rounding would be drawn, and never seen."""
    phases = [{"name": f"L{phase}", "rating_w": 40e3, "share": 0.33, "nodes": ["n[1-8]"]} for phase in (1, 2, 3)]
    tree = parse({**GOOD, "limits": phases}, DomainConfig).tree()
    assert np.allclose(sum(level.members.gain for level in tree.levels[:-1]), tree.members.gain)


def test_what_is_replaced_keeps_the_rest_of_the_limit() -> None:
    limit = LimitConfig("b", 60e3, trip=((2.0, 1.0),), curve="cold", base_w=400.0)
    smaller = ReplacedLimit("b", 52e3).instead_of(limit)
    assert (smaller.rating_w, smaller.trip_heat, smaller.base_w) == (52e3, limit.trip_heat, 400.0)
    battery = ReplacedLimit("b", 52e3, "timed", ((1.33, 10.0),)).instead_of(limit)
    assert (battery.kind, battery.trip_heat, battery.ceiling) == ("timed", 1.0, 1.33)


def test_every_case_of_a_limit_knows_the_usual_one() -> None:
    tree = two_feeds().tree()
    after, usual = tree.cases
    pairs = {tree.limit_names[a]: tree.limit_names[b] for a, b in zip(after.tolist(), usual.tolist(), strict=True)}
    assert pairs["b after a lost"] == pairs["b after b on battery"] == "b" and pairs["b1 after a lost"] == "b1"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"limits": [{**RACKS[0], "parent": "r2"}, {**RACKS[1], "parent": "r1"}]}, "limits[0].parent: r1 under r2 go in a circle"),
        ({"limits": [{**RACKS[0], "parent": "feed"}]}, "limits[0].parent: there is no limit 'feed'"),
        ({"limits": [{**RACKS[0], "rating_w": 200e3}]}, "limits[0].rating_w: is 200,000 W, above the 100,000 W of row, on which it hangs"),
        ({"limits": [{"name": "r1", "nodes": ["n1"]}]}, "limits[0].rating_w: is missing"),
        ({"limits": [{**RACKS[0], "rating_w": 10e3}]}, "limits: r1 carries 10,000 W, below its floors of 21,"),
        ({"limits": [RACKS[0], {**RACKS[1], "name": "r1"}]}, "limits[1].name: 'r1' occurs twice"),
        ({"limits": [{**RACKS[0], "nodes": ["n[1-9]"]}]}, "limits[0].nodes: n9 in no class"),
        ({"limits": [{**RACKS[0], "share": 0.5}]}, "limits: the shares of node n1 add up to 0.50, should be 1"),
        ({"limits": [RACKS[0], {**RACKS[1], "nodes": ["n[4-8]"]}]}, "limits: the shares of node n4 add up to 2.00, should be 1"),
        ({"limits": [{**RACKS[0], "name": ""}]}, "limits[0].name: is '', should be some text"),
        ({"limits": [{**RACKS[0], "name": "r1 after c"}]}, "limits[0].name: is 'r1 after c', should be some text without ' after '"),
        ({"limits": RACKS, "contingencies": [{"name": "c", "lost": ["row"]}]}, "contingencies[0].lost: row is all there is"),
        (
            {"limits": RACKS, "contingencies": [{"name": "c", "lost": ["r1"], "replaced": [{"limit": "r1", "rating_w": 4e4}]}]},
            "contingencies[0].replaced: r1 is lost in the same contingency",
        ),
        (
            {"limits": RACKS, "contingencies": [{"name": "c", "replaced": 2 * [{"limit": "r1", "rating_w": 4e4}]}]},
            "contingencies[0].replaced: r1 stands there 2 times",
        ),
        ({"policy": "fair_share"}, "policy: is 'fair_share', should be fair-share"),
        ({"contingencies": [{"name": "c", "lost": ["feed"]}]}, "contingencies[0].lost: there is no limit feed"),
        (
            {"limits": RACKS, "contingencies": [{"name": "c", "lost": ["r1"]}, {"name": "c", "lost": ["r2"]}]},
            "contingencies[1].name: 'c' occurs twice",
        ),
        ({"contingencies": [{"name": "c"}]}, "contingencies[0].lost, replaced: at least one"),
        (
            {"limits": RACKS, "contingencies": [{"name": "c", "replaced": [{"limit": "r1", "rating_w": 1e4}]}]},
            "limits: r1 after c carries 10,000 W, below its floors",
        ),
    ],
)
def test_a_tree_that_cannot_be_is_refused_with_the_reason(more: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse({**GOOD, **more}, DomainConfig)
