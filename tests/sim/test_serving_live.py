"""The serving row under gpuwarden itself: what it holds, and what a limit does to a server."""

from math import inf

import numpy as np
import pytest

from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.sim.serving import study
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.live import Held, LiveRow
from gpuwarden.sim.serving.relation import CLOCKS, POWER, PROMPT_TIME, TOKEN_TIME, Relation
from gpuwarden.sim.serving.requests import DAY_S, Requests
from gpuwarden.sim.serving.row import RowSetup, Run, run
from gpuwarden.sim.serving.servers import Servers
from gpuwarden.sim.serving.study import HIGH

SERVERS, BUDGET, SECONDS = 8, 6, 240.0


def busy() -> Requests:
    """Twice the calibrated load of so many servers."""
    return requests_of(frozen(), 2 * SERVERS, SECONDS / DAY_S, 1, None)


def ours(policy: str) -> tuple[Run, Held]:
    return LiveRow(RowSetup(SERVERS, BUDGET, ()), policy, busy(), HIGH, 1).run(SECONDS)


@pytest.mark.parametrize("policy", ["fair-share", "headroom"])
def test_it_keeps_a_row_under_its_budget_that_would_be_above_it(policy: str) -> None:
    free = run(RowSetup(SERVERS, BUDGET, (), brake=False), busy(), HIGH, SECONDS)
    held, how = ours(policy)
    half = len(held.load) // 2  # by then grants have arrived and the row has filled
    assert free.load[half:].max() > 1.0 >= held.load[half:].max()
    assert held.trips == 0 and how.limits_set >= SERVERS and how.capped_ratio > 0.1
    assert np.isfinite(held.finish_s).sum() > 0.8 * np.isfinite(free.finish_s).sum()


def test_the_same_seed_is_the_same_run() -> None:
    one, other = ours("headroom"), ours("headroom")
    assert one[0].load.tolist() == other[0].load.tolist() and one[1] == other[1]


def test_a_limit_slows_as_the_clock_that_it_forces_does() -> None:
    relation = Relation()
    for clock, power, prompt, token in zip(CLOCKS, POWER, PROMPT_TIME, TOKEN_TIME, strict=True):
        assert relation.squeezed(power) == pytest.approx((prompt, token)), clock


def test_a_limited_server_draws_no_more_and_takes_longer_and_an_ample_limit_changes_nothing() -> None:
    setup = RowSetup(SERVERS, BUDGET, LADDERS["none"])

    def drawn(most_w: float) -> tuple[float, float]:
        servers = Servers(setup.server, setup.high, busy(), HIGH, setup.relation)
        for number in range(SERVERS):
            servers.hold(0.0, number, 1.0, most_w)
        idle_w, highest_w = servers.watts[0], 0.0
        for second in range(1, 121):
            servers.advance(float(second))
            highest_w = max(highest_w, float(servers.watts.max()) - idle_w)
        return highest_w, float(np.nansum(servers.finish_s > 0))

    free_w, answered = drawn(inf)
    assert drawn(free_w + 1.0) == (free_w, answered)
    held_w, fewer = drawn(0.6 * free_w)
    assert held_w == pytest.approx(0.6 * free_w) and fewer < answered


def test_a_study_of_one_of_our_policies_is_of_our_own_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "FILLING_S", 60.0)
    made, loads = study.done(study.Study("polca-in-band", None, 4, 0.5, SECONDS / DAY_S, 1, 1.0, 0.5), lambda what, share: None)
    assert made["held"]["limits_set"] >= 6 and made["servers_in_all"] == 6
    assert loads["added, polca-in-band"].shape == loads["the row alone"].shape
