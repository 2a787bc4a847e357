"""A profile as a table."""

import statistics
from collections.abc import Iterator

from gpuwarden.agent.profile.card import Profiled
from gpuwarden.agent.profile.measure import Measured
from gpuwarden.agent.profile.points import Point

DRIFT_RATIO = 0.02  # more than that, and the card was not the same from beginning to end


def lines(card: Profiled, by: str, made: list[Measured], drift_ratio: float) -> list[str]:
    return [*_table(card, by, made), *_remarks(made, drift_ratio)]


def _table(card: Profiled, by: str, made: list[Measured]) -> Iterator[str]:
    yield f"card {card.index}, {card.uuid}: clock up to {card.clock_max_hz / 1e6:.0f} MHz, limit {card.min_w:.0f} to {card.max_w:.0f} W, default {card.default_w:.0f} W"
    yield f"{'SET':>10} {'SHARE':>7} {'CLOCK':>9} {'TIME':>9} {'LONGER':>8} {'MEAN':>7} {'P99':>7} {'MEAN LESS':>10} {'P99 LESS':>9} {'ENERGY':>8}"
    runs = by_point(made)
    first = _medians(next(iter(runs.values())))
    for point, of_it in runs.items():
        one = _medians(of_it)
        yield (
            f"{_set(point, by):>10} {100 * point.ratio:>5.1f} % {one.clock_hz / 1e6:>5.0f} MHz {one.duration_s:>7.2f} s {_percent(one.duration_s / first.duration_s)} "
            f"{one.mean_w:>5.0f} W {one.p99_w:>5.0f} W {_percent(one.mean_w / first.mean_w, 8)} {_percent(one.p99_w / first.p99_w, 7)} "
            f"{_percent(one.mean_w * one.duration_s / (first.mean_w * first.duration_s), 6)}"
        )


def by_point(made: list[Measured]) -> dict[Point, list[Measured]]:
    runs: dict[Point, list[Measured]] = {}
    for one in made:
        runs.setdefault(one.point, []).append(one)
    return runs


def _remarks(made: list[Measured], drift_ratio: float) -> Iterator[str]:
    yield ""
    spread = max(max(one.duration_s for one in runs) / min(one.duration_s for one in runs) - 1.0 for runs in by_point(made).values())
    yield f"Runs of one setting differ by up to {100 * spread:.1f} %; the last run at the first setting took {100 * drift_ratio:+.1f} % of its time longer."
    if abs(drift_ratio) > DRIFT_RATIO:
        yield "That is much: card or node was not the same from beginning to end (heat, other work). Measure again, with more repeats."


def _medians(runs: list[Measured]) -> Measured:
    def median(values: Iterator[float]) -> float:
        return statistics.median(values)

    return Measured(
        runs[0].point, median(one.duration_s for one in runs), median(one.mean_w for one in runs), median(one.p99_w for one in runs),
        median(one.clock_hz for one in runs),
    )


def _set(point: Point, by: str) -> str:
    if by == "limit":
        return f"{point.limit_w:.0f} W"
    return f"{point.clock_hz / 1e6:.0f} MHz" if point.clock_hz else "unlocked"


def _percent(ratio: float, width: int = 6) -> str:
    return f"{100 * (ratio - 1.0):>+{width}.1f} %"
