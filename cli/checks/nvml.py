"""The driver's library, the cards' limits, and whether somebody else's limit lies below what was asked for."""

import math
from collections.abc import Iterator
from typing import Final

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

from gpuwarden.agent.nvml import Nvml
from gpuwarden.agent.nvml_errors import reason
from gpuwarden.agent.reading import GpuLost, SessionOver, Unsupported
from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.place import Place

SAME_W: Final = 1.0  # the driver rounds limits to less than this
_LIMIT: Final = "gpu_power_limit_{}_watts"
_WHICH: Final = ("requested", "enforced", "default", "min", "max")
_PERSISTENCE: Final = "gpu_persistence_mode"


def check(place: Place) -> Iterator[Found]:
    try:
        nvml = Nvml()
    except Unsupported as why:
        needed = place.limiter is not None
        yield wrong(f"the limiter has no card to limit: {why}", "nvidia-smi") if needed else absent(str(why))
        return
    yield ok(f"driver {_driver_version()}, {len(nvml.gpus)} cards")
    floor_w = place.limiter.floor_w if place.limiter is not None else math.nan
    cards = dict[int, dict[str, float]]()
    for gpu in nvml.gpus:
        try:
            cards[gpu.index] = nvml.read(gpu, frozenset({_PERSISTENCE, *(_LIMIT.format(which) for which in _WHICH)}))
        except (GpuLost, SessionOver) as why:
            yield wrong(f"GPU {gpu.index}: does not answer: {why}", f"nvidia-smi -i {gpu.index} -q")
    yield from _persistence(cards)
    yield from _limits(cards, floor_w)


def _driver_version() -> str:
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError as error:
        return f"of unknown version ({reason(error)})"


def _persistence(cards: dict[int, dict[str, float]]) -> Iterator[Found]:
    off = [index for index, card in cards.items() if card.get(_PERSISTENCE) == 0.0]
    if off:
        said = f"persistence mode is off on GPU {_named(off)}: with no client the driver unloads, and limits are back at the default"
        yield warning(said, "systemctl enable --now nvidia-persistenced")


def _limits(cards: dict[int, dict[str, float]], floor_w: float) -> Iterator[Found]:
    found = [one for index, card in cards.items() for one in _card(index, card, floor_w)]
    yield from found
    if cards and not found:
        enforced_w = [card.get(_LIMIT.format("enforced"), math.nan) for card in cards.values()]
        yield ok(f"limits of {len(cards)} cards are within their ranges, {min(enforced_w):.0f} to {max(enforced_w):.0f} W enforced")


def _card(index: int, card: dict[str, float], floor_w: float) -> Iterator[Found]:
    """NaN where the card does not tell; it then compares as neither."""
    requested_w, enforced_w, default_w, min_w, max_w = (card.get(_LIMIT.format(which), math.nan) for which in _WHICH)
    look = f"nvidia-smi -i {index} -q -d POWER"
    if math.isnan(max_w):
        yield wrong(f"GPU {index}: does not tell the range of its limits, so it cannot be capped", look)
    if enforced_w < requested_w - SAME_W:
        yield warning(f"GPU {index}: enforces {enforced_w:.0f} W though {requested_w:.0f} W was asked for: another limit lies below", look)
    if not min_w - SAME_W <= requested_w <= max_w + SAME_W and not math.isnan(requested_w + max_w):
        yield wrong(f"GPU {index}: its limit of {requested_w:.0f} W is outside {min_w:.0f} to {max_w:.0f} W", look)
    if floor_w < min_w or floor_w > max_w:
        yield wrong(f"GPU {index}: floor_w {floor_w:g} W is outside its range of {min_w:.0f} to {max_w:.0f} W", look)
    if math.isnan(floor_w) and requested_w < default_w - SAME_W:
        yield warning(f"GPU {index}: is capped to {requested_w:.0f} W of {default_w:.0f} W, and no limiter is configured here", look)


def _named(indexes: list[int]) -> str:
    return ", ".join(map(str, indexes))
