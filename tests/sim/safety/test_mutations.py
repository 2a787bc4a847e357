"""The product with one thing left out: the checkers find each, and find nothing on the same seeds in the product as it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import pytest
from fakes import mutations

from gpuwarden.sim.safety.faults import FAULTS
from gpuwarden.sim.safety.ordeal import Outcome, undergo
from gpuwarden.sim.safety.row import ONE_HZ
from gpuwarden.sim.safety.silence import Silence


@dataclass(frozen=True, slots=True)
class Trial:
    """Each seed as long as `seconds`, some longer than it takes to find it, with `faults` alone; without `reserve`, what a restart may need is not kept back: else that covers for it."""

    mutate: Callable[[pytest.MonkeyPatch], None]
    faults: tuple[str, ...]
    seeds: tuple[int, ...] = (40,)
    seconds: float = 30.0
    policy: str = "erratic"
    reserve: bool = True

    def prepare(self, patch: pytest.MonkeyPatch) -> None:
        if not self.reserve:
            mutations.keep_no_heat_for_a_restart(patch)

    def outcomes(self) -> list[Outcome]:
        return [undergo(seed, self.policy, ONE_HZ, self.seconds, self.faults) for seed in self.seeds]


LATE: Final = ("messages late",)
TRIALS: Final[Mapping[str, Trial]] = MappingProxyType({
    "raise before cut": Trial(mutations.raise_before_cut, LATE, (48,), seconds=12.0),
    "forget old leases": Trial(mutations.forget_old_leases, LATE, (48,), seconds=12.0),
    "trust stale samples": Trial(mutations.trust_stale_samples, LATE, (45,), seconds=24.0),
    "ignore dead nodes": Trial(mutations.ignore_dead_nodes, LATE, (41,), seconds=12.0),
    "ignore settling": Trial(mutations.ignore_settling, tuple(FAULTS), (51,), seconds=20.0, policy="none", reserve=False),
    "lose the heat at a restart": Trial(mutations.lose_the_heat, ("crash loop", "controller killed"), (83,), seconds=40.0, policy="greedy", reserve=False),
    "renew by keep-alive": Trial(mutations.renew_by_keep_alive, ("agent lying",), (46,)),
    "accept late grants": Trial(mutations.accept_late_grants, LATE, seconds=20.0),
    "decide anew after a restart": Trial(mutations.decide_anew_after_a_restart, ("brief restart",), (46,), seconds=75.0),
    "ignore the budget": Trial(mutations.ignore_the_budget, ("budget lowered",), (52,), seconds=40.0, policy="greedy"),
    "leave auto unasked": Trial(mutations.leave_auto_unasked, ("mode refused",), seconds=12.0),
    "ignore what is replaced": Trial(mutations.ignore_what_is_replaced, ("UPS on battery",), (48,), seconds=12.0, policy="greedy"),
    "keep no heat for a restart": Trial(mutations.keep_no_heat_for_a_restart, ("brief restart",), (65,), seconds=90.0),
    "forget raises on the way": Trial(mutations.forget_raises_on_the_way, ("messages late", "messages lost"), (105,), seconds=20.0, policy="none", reserve=False),
})


@pytest.mark.parametrize("name", TRIALS)
def test_each_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    TRIALS[name].prepare(monkeypatch)
    TRIALS[name].mutate(monkeypatch)
    assert any(outcome.broken for outcome in TRIALS[name].outcomes())


def runs() -> list[Trial]:
    """Each seed with the same faults once."""
    return list({(trial.faults, trial.seeds, trial.policy, trial.reserve): trial for trial in TRIALS.values()}.values())


@pytest.mark.parametrize("trial", runs(), ids=lambda trial: ", ".join(trial.faults[:3]))
def test_the_product_as_it_is_passes_the_same_seeds(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.prepare(monkeypatch)
    assert [outcome.broken for outcome in trial.outcomes()] == [""] * len(trial.seeds)


def test_true_breakers_trip_where_every_wish_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody asking what would be: what is really drawn is judged too."""
    mutations.grant_every_wish(monkeypatch)
    monkeypatch.setattr(Silence, "broken", lambda self, breakers, outlook, lost: "")
    outcome = undergo(40, "greedy", ONE_HZ, 120.0, ("Kafka gone",))
    assert "has tripped" in outcome.broken or "carries" in outcome.broken
