"""The simulation's memory of a controller and the real ledger, told the same, say the same."""

from pathlib import Path

import pytest

from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.power.learnt_kept import LimitLearnt
from gpuwarden.controller.power.limit_heat import LimitHeat
from gpuwarden.sim.safety.memory import Memory


def heat(limit: str, heat_s: float) -> LimitHeat:
    return LimitHeat("row", limit, 1000.0, 11.0, heat_s / 2, heat_s)


@pytest.fixture(params=["memory", "ledger"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Memory | Ledger:
    if request.param == "memory":
        return Memory()
    made = Ledger(tmp_path / "ledger.sqlite")
    request.addfinalizer(made.close)
    return made


def test_new_it_knows_nothing(kept: Memory | Ledger) -> None:
    assert (kept.epoch(), kept.heats()) == (0, ())


def test_the_newest_heat_of_each_limit_is_known(kept: Memory | Ledger) -> None:
    kept.remember_epoch(3)
    kept.remember_heats((heat("b", 1.0), heat("a", 2.0)))
    kept.remember_heats((heat("b", 4.0),))
    assert (kept.epoch(), kept.heats()) == (3, (heat("a", 2.0), heat("b", 4.0)))


def test_what_an_earlier_epoch_kept_is_unknown(kept: Memory | Ledger) -> None:
    kept.remember_epoch(3)
    kept.remember_heats((heat("a", 2.0), heat("b", 1.0)))
    kept.remember_epoch(4)
    assert kept.heats() == ()
    kept.remember_heats((heat("b", 3.0),))
    assert kept.heats() == (heat("b", 3.0),)


def test_what_was_learnt_outlives_an_epoch(kept: Memory | Ledger) -> None:
    old, new, other = (LimitLearnt("row", limit, "headroom", rating_w, b"x") for limit, rating_w in (("b", 1e3), ("b", 2e3), ("a", 1e3)))
    kept.remember_learnt((old, other))
    kept.remember_epoch(9)
    kept.remember_learnt((new,))
    assert kept.learnt() == (other, new)


def test_a_backup_stays_as_it_was() -> None:
    kept = Memory()
    kept.remember_epoch(1)
    backup = kept.copy()
    kept.remember_epoch(2)
    kept.remember_heats((heat("a", 2.0),))
    assert (backup.epoch(), backup.heats()) == (1, ())
