"""The limiter's view of its cards: named by id, in range, under deadlines, and no reload goes unseen."""

import math
import os
import resource
import time

import pytest
from fakes.nvml.asked import power_w
from fakes.nvml.steer import FakeNode

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.limiter import cards as cards_module
from gpuwarden.agent.limiter.card import CardState
from gpuwarden.agent.limiter.cards import Cards
from gpuwarden.agent.reading import Unsupported

GPUS = 8


def again(cards: Cards) -> tuple[CardState, ...]:
    """The limits, as soon as the driver answers."""
    end_s = time.monotonic() + 10.0
    while True:
        try:
            return cards.limits()
        except (Hung, ChildFailed):
            assert time.monotonic() < end_s
            time.sleep(0.1)


def test_each_card_has_its_range(cards: Cards) -> None:
    assert [(card.default_w, card.min_w, card.max_w) for card in cards.cards] == [(700.0, 200.0, 700.0)] * GPUS
    assert len({card.uuid for card in cards.cards}) == GPUS


def test_a_limit_out_of_range_becomes_the_nearest_one_in_range(cards: Cards) -> None:
    assert cards.set_limits([50.0, 9000.0, *[400.0] * (GPUS - 2)]) == ("",) * GPUS
    assert [card.requested_w for card in cards.limits()] == [200.0, 700.0, *[400.0] * (GPUS - 2)]


def test_another_limit_beside_ours_shows_as_in_force(node: FakeNode, cards: Cards) -> None:
    cards.set_limits([400.0] * GPUS)
    node.other_limit(1, 350.0)
    assert cards.limits()[1] == CardState(400.0, 350.0)


def test_a_refusal_is_told_per_card(node: FakeNode, cards: Cards) -> None:
    node.set("no_permission", True)
    assert cards.set_limits([400.0] * GPUS) == ("NoPermission",) * GPUS
    assert {card.requested_w for card in cards.limits()} == {700.0}


def test_a_lost_card_is_nan_and_the_others_are_read_and_set(node: FakeNode, cards: Cards) -> None:
    node.lose(2)
    assert [math.isnan(watts) for watts in power_w(cards)] == [index == 2 for index in range(GPUS)]
    assert [bool(why) for why in cards.set_limits([300.0] * GPUS)] == [index == 2 for index in range(GPUS)]
    assert [card.enforced_w for card in cards.limits() if not math.isnan(card.enforced_w)] == [300.0] * (GPUS - 1)


def test_each_limit_goes_to_its_own_card_when_indexes_have_moved(node: FakeNode, cards: Cards) -> None:
    node.vanish(1)
    node.unload_driver()
    node.reload_driver()
    again(cards)
    refused = cards.set_limits([300.0 + 10 * index for index in range(GPUS)])
    assert refused == ("", "the driver does not list this card", *[""] * (GPUS - 2))
    assert [node.limit_w(index) for index in range(GPUS)] == [300.0, 700.0, *(300.0 + 10 * index for index in range(2, GPUS))]
    assert math.isnan(cards.limits()[1].requested_w) and math.isnan(power_w(cards)[1])


def test_a_setter_that_hangs_is_cut_off_and_power_is_still_read(
    node: FakeNode, cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards_module, "SET_S", 0.5)
    node.hang(True, "nvmlDeviceSetPowerManagementLimit")
    start_s = time.monotonic()
    with pytest.raises(Hung):
        cards.set_limits([300.0] * GPUS)
    assert time.monotonic() - start_s < 1.5
    assert not any(map(math.isnan, power_w(cards)))
    node.hang(False)
    assert cards.set_limits([300.0] * GPUS) == ("",) * GPUS
    assert cards.driver_loads == 1


def test_a_driver_that_went_away_and_came_back_was_loaded_once_more(node: FakeNode, cards: Cards) -> None:
    cards.set_limits([300.0] * GPUS)
    cards.limits()
    node.unload_driver()
    for _ in range(3):
        with pytest.raises(ChildFailed):
            power_w(cards)
    assert cards.driver_loads == 1
    node.reload_driver()
    assert [card.enforced_w for card in again(cards)] == [700.0] * GPUS
    assert cards.driver_loads == 2
    cards.limits()
    assert cards.driver_loads == 2


def test_a_reload_that_no_call_failed_of_shows_in_the_energy(node: FakeNode, cards: Cards) -> None:
    time.sleep(0.3)
    cards.limits()
    node.reload_driver()
    cards.limits()
    assert cards.driver_loads == 2
    cards.limits()
    assert cards.driver_loads == 2


def test_somebody_elses_limit_is_no_reload(node: FakeNode, cards: Cards) -> None:
    cards.set_limits([300.0] * GPUS)
    cards.limits()
    node.reset_limits()
    assert [card.requested_w for card in cards.limits()] == [700.0] * GPUS
    assert cards.driver_loads == 1


def test_cards_without_a_range_of_limits_are_refused_by_name(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUWARDEN_FAKE_NVML_LACKS", "187,188,189,nvmlDeviceGetPowerManagementLimitConstraints")
    with pytest.raises(Unsupported, match="GPU 0: gpu_power_limit_min_watts, gpu_power_limit_max_watts cannot be read"):
        Cards()


def test_a_driver_that_hangs_at_the_start_is_told(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards_module, "READ_S", 0.3)
    node.hang(True, "nvmlDeviceGetFieldValues")
    with pytest.raises(Hung):
        Cards()


def test_a_limit_that_somebody_raises_shows_with_the_power_and_one_that_he_lowers_does_not(node: FakeNode, cards: Cards) -> None:
    never = os.eventfd(0)
    cards.set_limits([400.0] * GPUS)
    cards.limits()
    cards.next_power_w(never)
    assert not cards.limits_rose
    for limit_w, rose in ((300.0, False), (450.0, True)):
        node.set("requested_w", limit_w, 3)
        for _ in range(3):  # one may have been told before
            cards.next_power_w(never)
        assert cards.limits_rose is rose
    cards.limits()
    assert not cards.limits_rose
    cards.next_power_w(never)
    assert not cards.limits_rose
    os.close(never)


def test_power_is_told_ten_times_a_second_for_a_twentieth_of_a_core(cards: Cards) -> None:
    never = os.eventfd(0)
    cards.next_power_w(never)
    before, start_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    told = [cards.next_power_w(never) for _ in range(20)]
    spent, took_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - start_s
    os.close(never)
    assert all(watts is not None and len(watts) == GPUS for watts in told)
    assert 1.8 < took_s < 2.6
    assert spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime < 0.1


def test_a_driver_that_hangs_while_it_is_to_tell_is_cut_off(node: FakeNode, cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    never = os.eventfd(0)
    cards.next_power_w(never)
    node.hang(True, "nvmlDeviceGetFieldValues")
    with monkeypatch.context() as hasty, pytest.raises(Hung):
        hasty.setattr(cards_module, "READ_S", 0.4)
        for _ in range(3):  # one may have been told before
            cards.next_power_w(never)
    node.hang(False)
    assert cards.next_power_w(never) is not None
    os.close(never)
