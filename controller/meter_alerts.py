"""What meters have to tell people: load that is not ours, readings that contradict our nodes' sensors, silence."""

from collections.abc import Iterator
from typing import Final

from gpuwarden.controller.power.keeper import Keeper
from gpuwarden.controller.power.meter import Meter

FOREIGN_SHARE: Final = 0.02  # of the rating: less is taken all the same, and calls nobody
FOREIGN, CONTRADICTS, SILENT = "foreign-load", "meter-contradicts", "meter-silent"


def meter_conditions(now_s: float, keeper: Keeper) -> Iterator[tuple[str, Meter, bool]]:
    """(kind, meter, whether it is so) of every meter."""
    assert keeper.started_s is not None, "a domain is decided before it is judged"
    up_s = now_s - keeper.started_s
    for meter in keeper.meters.by_limit.values():
        yield FOREIGN, meter, meter.surplus_w > FOREIGN_SHARE * meter.limit.rating_w
        yield CONTRADICTS, meter, meter.lacks_w > 0
        yield SILENT, meter, up_s > meter.config.stale_s and meter.silent(now_s)


def meter_text(kind: str, meter: Meter) -> str:
    """What a person has to know, with the numbers."""
    name, kw = meter.limit.name, _kw(meter.power_w)
    if kind == FOREIGN:
        return (
            f"the meter of {name} shows {_kw(meter.surplus_w)} more than its nodes' {_kw(meter.ours_w)} and its base load of {_kw(meter.base_w)}; "
            "that much less is granted. Foreign load, a node on another limit than configured, a sensor that is off or an agent that lies"
        )
    if kind == CONTRADICTS:
        return (
            f"the meter of {name} shows {_kw(meter.lacks_w)} less than its nodes' GPUs alone draw; the larger counts, so it loosens nothing. "
            "A meter on another limit or in another unit, a node that hangs elsewhere, or sensors that are off"
        )
    taken = f"the {_kw(meter.foreign_w)} that it last showed as foreign stay taken" if meter.foreign_w > 0 else "its declared base load counts"
    newest = f"last {kw}" if meter.power_w >= 0 else "nothing since the start"
    return f"the meter of {name} has told {newest}, and nothing for {meter.config.stale_s:g} s: {meter.failure or 'nobody reports it'}; {taken}"


def _kw(watts: float) -> str:
    return f"{watts / 1e3:,.1f} kW"
