"""What may be wrong with a node: each fault spoils its condition, by a strength from just nothing (0) to blatant (1). One line of the table each."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gpuwarden.sim.health.body import CARDS, Condition
from gpuwarden.sim.plant import CLOCK_MAX_HZ, DEFAULT_W

Spoil = Callable[[Condition, int, float, float], None]
"""(condition, node, strength, share of the fault's time that has passed)."""

CARD: Final = 3  # the one that is hit where only one is


def low_clocks(now: Condition, node: int, strength: float, _: float) -> None:
    """Somebody has locked the clocks of all cards."""
    now.lock_hz[node] = CLOCK_MAX_HZ * (1.0 - 0.5 * strength)


def powersave(now: Condition, node: int, _strength: float, _: float) -> None:
    now.governor[node] = "powersave"


def performance(now: Condition, node: int, _strength: float, _: float) -> None:
    now.governor[node] = "performance"


def thermal_drift(now: Condition, node: int, strength: float, passed: float) -> None:
    """Dust, or paste that dries out: all cards are cooled the worse the longer it lasts."""
    now.resistance[node] *= 1.0 + 0.5 * strength * passed


def failing_fan(now: Condition, node: int, strength: float, _: float) -> None:
    now.fan[node] = 1.0 - 0.8 * strength


def foreign_cap(now: Condition, node: int, strength: float, _: float) -> None:
    """A power limit that is not ours."""
    now.limit_w[node] = DEFAULT_W * (1.0 - 0.6 * strength)


def memory_bandwidth(now: Condition, node: int, strength: float, _: float) -> None:
    """One card's memory is slower than it was."""
    now.bandwidth[node, CARD] = 1.0 - 0.5 * strength


def ecc_storm(now: Condition, node: int, strength: float, _: float) -> None:
    now.more_ecc_per_minute[node, CARD] += 60.0 * strength


def slow_card(now: Condition, node: int, strength: float, _: float) -> None:
    """One card of eight clocks lower."""
    assert CARD < CARDS
    now.lock_hz[node, CARD] = CLOCK_MAX_HZ * (1.0 - 0.5 * strength)


FAULTS: Final[Mapping[str, Spoil]] = MappingProxyType({
    fault.__name__: fault
    for fault in (low_clocks, powersave, performance, thermal_drift, failing_fan, foreign_cap, memory_bandwidth, ecc_storm, slow_card)
})
