"""Random trees: the product takes them, reckons their shares as they are, and no truth lies outside of what is declared."""

import math
import statistics

import numpy as np
import pytest

from gpuwarden.controller.power.topology import AFTER
from gpuwarden.sim.safety.site import ON_BATTERY, Site, site_of

SEEDS = range(20)


def made(seed: int) -> Site:
    return site_of(np.random.default_rng(seed), "fair-share", 1.0)


def test_half_of_them_have_16_servers_and_three_levels_or_more() -> None:
    sites = [made(seed) for seed in SEEDS]
    assert statistics.median(len(site.names) for site in sites) >= 16
    assert statistics.median(site.levels for site in sites) >= 3
    assert {bool(site.domain.contingencies) for site in sites} == {True, False}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_product_reckons_the_same_shares_bases_and_dead_nodes(seed: int) -> None:
    site = made(seed)
    branches = {branch.name: branch for branch in site.domain.topology().branches()}
    for place, element in enumerate(site.elements):
        for case, shares in site.shares.items():
            branch = branches.get(f"{element.name.removesuffix(ON_BATTERY)}{AFTER}{case}" if case else element.name)
            if case == f"{element.name}{ON_BATTERY}" or (element.name.endswith(ON_BATTERY) and element.name != case):
                assert not shares[place].any(), "either the battery carries it, or what it stands in for"
            elif branch is not None:
                np.testing.assert_allclose(branch.shares, shares[place])
                assert branch.other_w == pytest.approx(site.bases_w[case][place])
                assert branch.dead_count == element.dead_count
            else:
                assert (shares[place] <= site.shares[""][place] + 1e-9).all(), "what is no branch carries no more than usual"


@pytest.mark.parametrize("seed", SEEDS)
def test_no_breaker_trips_before_its_declared_trip_at_any_load_below_its_ceiling(seed: int) -> None:
    site = made(seed)
    branches = {branch.name: branch for branch in site.domain.topology().branches()}
    for element in site.elements:
        on_battery = f"{element.name.removesuffix(ON_BATTERY)}{AFTER}{element.name}"
        limit = branches[on_battery if element.name.endswith(ON_BATTERY) else element.name].limit
        assert limit.ceiling <= element.ceiling_ratio
        if element.kind == "thermal":
            rate = element.ceiling_ratio**2 - 1.0
            part = element.trip / (element.tau_s * rate)
            trips_after_s = -element.tau_s * math.log1p(-part) if part < 1.0 else math.inf
            assert limit.trip_heat <= rate * trips_after_s * (1 + 1e-9)
