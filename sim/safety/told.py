"""What many runs came to, for people."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gpuwarden.sim.safety.breakers import BANDS
from gpuwarden.sim.safety.faults import FAULTS
from gpuwarden.sim.safety.ordeal import Outcome
from gpuwarden.sim.safety.site import TRIPS

HOUR_S: Final = 3600.0


def figures(outcomes: Sequence[Outcome], asked_h: Mapping[str, float]) -> dict[str, object]:
    """Plain values, for --json too. `asked_h`: by the name of the pace."""
    return {
        "hours": {pace: _hours(outcomes, pace) | {"asked": hours} for pace, hours in asked_h.items()},
        "servers_median": statistics.median(one.servers for one in outcomes),
        "levels_median": statistics.median(one.levels for one in outcomes),
        "demand_above_rating": sum(one.above_s for one in outcomes) / sum(one.passed_s for one in outcomes),
        "faults": sum(one.faults.total() for one in outcomes),
        "seconds_between_faults": sum(one.passed_s for one in outcomes) / max(1, sum(one.faults.total() for one in outcomes)),
        "coverage": {fault: {policy: _struck(outcomes, fault, policy) for policy in _policies(outcomes)} for fault in FAULTS},
        "silence_asked": sum(one.checks for one in outcomes),
        "grants": sum(one.grants for one in outcomes),
        "restarts": sum(one.restarts for one in outcomes),
        "restarts_excused": sum(one.restarts_excused for one in outcomes),
        "hottest": max(one.hottest for one in outcomes),
        "over_rating": [_over(outcomes, place) for place in range(len(BANDS))],
        "core_hours": sum(one.cpu_s for one in outcomes) / HOUR_S,
        "broken": [
            {"seed": one.seed, "policy": one.policy, "pace": one.pace, "what": one.broken} for one in outcomes if one.broken
        ],
    }


def _policies(outcomes: Sequence[Outcome]) -> list[str]:
    return sorted({one.policy for one in outcomes})


def _struck(outcomes: Sequence[Outcome], fault: str, policy: str) -> int:
    return sum((one.faults for one in outcomes if one.policy == policy), Counter[str]())[fault]


def _hours(outcomes: Sequence[Outcome], pace: str) -> dict[str, float]:
    of_pace = [one for one in outcomes if one.pace == pace]
    passed_s, cpu_s = sum(one.passed_s for one in of_pace), sum(one.cpu_s for one in of_pace)
    return {"run": passed_s / HOUR_S, "runs": len(of_pace), "times_real_time": passed_s / cpu_s if cpu_s else 0.0}


def _over(outcomes: Sequence[Outcome], place: int) -> dict[str, float]:
    """`trips_after_s`: the quickest of all these breakers, from hot."""
    ratio = BANDS[place]
    return {
        "ratio": ratio, "seconds": sum(one.over_s[place] for one in outcomes), "longest_s": max(one.longest_s[place] for one in outcomes),
        "trips_after_s": min(TRIPS) / (ratio * ratio - 1.0) if ratio > 1.0 else float("inf"),
    }


def lines(told: Mapping[str, object]) -> Iterator[str]:
    """The same, to be read."""
    for pace, hours in _mapping(told["hours"]).items():
        one = _mapping(hours)
        yield (
            f"{pace}: {_number(one['run']):,.2f} of {_number(one['asked']):,.2f} h asked, {_number(one['runs']):.0f} runs, "
            f"{_number(one['times_real_time']):.1f} times real time on one core"
        )
    yield (
        f"{told['servers_median']} servers, {told['levels_median']} levels (medians); demand above the row's rating "
        f"{_number(told['demand_above_rating']):.0%} of the time; a fault every {_number(told['seconds_between_faults']):.0f} s"
    )
    yield (
        f"asked {told['silence_asked']:,} times what would be if all fell silent, {told['grants']:,} grants judged; "
        f"the hottest breaker came to {_number(told['hottest']):.0%} of its trip"
    )
    yield (
        f"{told['restarts']:,} brief restarts judged, {told['restarts_excused']:,} of them with a cut that was excused, "
        "since a limit may have been warmed meanwhile"
    )
    yield f"{_number(told['core_hours']):.2f} core-hours"
    yield from _coverage(_mapping(told["coverage"]))
    yield "above    all limits together    longest    quickest trip from hot"
    for row in told["over_rating"] if isinstance(told["over_rating"], list) else ():
        yield f"{row['ratio']:5.2f} {row['seconds']:20.1f} s {row['longest_s']:8.1f} s {row['trips_after_s']:20.1f} s"
    broken = told["broken"] if isinstance(told["broken"], list) else []
    yield from (f"BROKEN, seed {one['seed']}, {one['policy']}, {one['pace']}: {one['what']}" for one in broken)
    yield f"{len(broken)} broken"


def _coverage(coverage: Mapping[str, object]) -> Iterator[str]:
    policies = list(_mapping(next(iter(coverage.values()))))
    yield f"{'fault':26}" + "".join(f"{policy:>14}" for policy in policies)
    for fault, counts in coverage.items():
        yield f"{fault:26}" + "".join(f"{count:>14}" for count in _mapping(counts).values())


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, dict)
    return value


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
