"""What bounds the servers under one breaker: the load, the time that a lock takes, or the policy. Clock locks by laws that no controller has to carry out.

    python bench/power_oracle.py [--added 0.40] [--days 0.0417] [--begin-day 0.55] [--lags 0,0.2,0.5,1] [--thresholds 0.96,0.95,0.94] [--seed N] [--json FILE]

The calibrated row and the requests of `bench/power_live.py`, on the row's engine alone. A law sees what the row would draw unlocked, without error, four
times a second, and locks what is above its threshold: no hysteresis, no hold, no limits. `--lags`: from what it sees to the lock. With a lag of 0 (ten times
a second, threshold RATING) it is a schedule that only foresight can keep: whoever knows the future orders each lock so much earlier. Who is locked: `even`,
all of the low priority alike, then the high one; `phases`, first who writes tokens, of either priority; `requests`, first of the low priority who
is slowed least for what it saves, by how many requests each holds.

LEAST is reckoned from the uncapped run: the share of the low priority's time for which it is fully locked if each moment above the rating is met exactly.
It leaves out that delayed work comes later. The other rows are schedules that were run, with thresholds that hindsight may choose: better than a
policy that has to learn them. Neither is a proof that nothing else could do better.
"""

import argparse
import json
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from power_row_cases import misses, trace

from gpuwarden.controller.policies.dim import LOWEST, LOWEST_LAST
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.meter import Meter
from gpuwarden.sim.serving.model import Server
from gpuwarden.sim.serving.outcome import Judged, outcome, swings
from gpuwarden.sim.serving.relation import CLOCKS, POWER
from gpuwarden.sim.serving.requests import DAY_S, Requests
from gpuwarden.sim.serving.row import HOUR_S, RowSetup, Run, run
from gpuwarden.sim.serving.servers import Servers
from gpuwarden.sim.serving.study import FILLING_S, HIGH

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

RATING: Final = 0.995  # where a lock is at once: between two looks the power may rise
AT_ONCE_S, LOOK_S = 0.1, 0.25
LEVELS: Final = 24  # of a lock that is spread evenly
LEFT_LOW, LEFT_HIGH = (float(np.interp(clock, CLOCKS, POWER)) for clock in (LOWEST, LOWEST_LAST))  # of the power above idle
SERVER: Final = Server()
IDLE_W: Final = SERVER.base_w + SERVER.gpus * SERVER.tdp_w * SERVER.idle_ratio
READING_LOST, WRITING_LOST = 0.25 / 1.25, 0.03 / 1.03  # of the time, at LOWEST


@dataclass(frozen=True, slots=True)
class Law:
    who: str
    lag_s: float
    threshold: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--added", default="0.40")
    parser.add_argument("--days", type=float, default=0.0417)
    parser.add_argument("--begin-day", type=float, default=0.55)
    parser.add_argument("--lags", default="0,0.2,0.5,1")
    parser.add_argument("--thresholds", default="0.96,0.95,0.94")
    parser.add_argument("--who", default="even,phases,requests")
    parser.add_argument("--seed", type=int, default=frozen().seed)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    lags, thresholds = ([float(one) for one in text.split(",")] for text in (args.lags, args.thresholds))
    laws = [Law(who, lag_s, at) for lag_s in lags for who in args.who.split(",") for at in (thresholds if lag_s else [RATING])]
    print(f"{'SERVERS':>8} {'LOCKED':<8} {'LAG':>6} {'AT':>7} {'PEAK':>7} {'OVER':>8} {'HIGH P50':>9} {'P99':>8} {'LOW P50':>8} {'P99':>8} {'LEAST, LOCKED':>13}  KEEPS")
    results = [told for added in map(float, args.added.split(",")) for told in _with(added, args.days, args.begin_day, args.seed, laws)]
    if args.json:
        args.json.write_text(json.dumps(results) + "\n")
    return 0


def _with(added: float, days: float, begin_day: float, seed: int, laws: list[Law]) -> list[dict[str, Any]]:
    row, duration_s = frozen(), days * DAY_S
    servers = round(row.servers * (1 + added))
    asked = requests_of(row, servers, begin_day + days, seed, trace(), 0.5).since(begin_day * DAY_S)
    setup, judged = RowSetup(servers, row.servers, (), brake=False), Judged(min(FILLING_S, duration_s / 4), duration_s)
    free = run(setup, asked, HIGH, duration_s)
    drawn, least = swings(free, setup, judged), _least(setup, asked, judged)
    print(
        f"{servers:>8} uncapped, mean {100 * drawn['mean_fraction']:.1f} % {100 * drawn['peak_fraction']:>9.1f} % {free.over_rating_s:>6.1f} s {100 * least:>49.1f} %", flush=True
    )
    made: list[dict[str, Any]] = [{"servers": servers, "law": "uncapped", **drawn, "over_rating_s": free.over_rating_s, "least_locked_ratio": least}]
    for law in laws:
        locked, ratio = locked_run(setup, asked, law, duration_s)
        told = outcome(locked, free, setup, asked, HIGH, judged)
        late = " ".join(
            f"{100 * (told['latency'][who][q] - 1):>+{width}.1f} %"
            for who, q, width in (("high", "p50_ratio", 7), ("high", "p99_ratio", 6), ("low", "p50_ratio", 6), ("low", "p99_ratio", 6))
        )
        print(
            f"{servers:>8} {law.who:<8} {law.lag_s:>4.1f} s {100 * law.threshold:>5.1f} % {100 * told['peak_fraction']:>5.1f} % {told['over_rating_s']:>6.1f} s"
            f" {late} {100 * ratio:>11.1f} %  {', '.join(f'not {one}' for one in misses(told)) or 'all bounds'}",
            flush=True,
        )
        made.append({"servers": servers, "law": law.who, "lag_s": law.lag_s, "threshold": law.threshold, **told, "locked_ratio": ratio})
    return made


def _least(setup: RowSetup, asked: Requests, judged: Judged) -> float:
    """Share of the low priority's time under a full lock that takes away what is above the rating, moment by moment of the uncapped run."""
    servers, shares = Servers(SERVER, setup.high, asked, HIGH, setup.relation), []
    for now_s in np.arange(LOOK_S, judged.end_s, LOOK_S).tolist():
        servers.advance(now_s)
        if now_s >= judged.begin_s:
            watts = servers.watts
            shares.append(max(0.0, watts.sum() - setup.budget_w) / ((1.0 - LEFT_LOW) * (watts[~setup.high] - IDLE_W).sum()))
        servers.step_s.clear()
        servers.step_w.clear()
    return float(np.mean(shares))


def locked_run(setup: RowSetup, asked: Requests, law: Law, duration_s: float) -> tuple[Run, float]:
    """And the share of the low priority's time under a lock, a mild one counted in part."""
    servers = Servers(SERVER, setup.high, asked, HIGH, setup.relation)
    meter, readings = Meter(servers, 1.0 / setup.budget_w), round(duration_s / setup.delays.telemetry_s)
    made, look_s = Run(np.zeros(readings), servers.finish_s), LOOK_S if law.lag_s else AT_ONCE_S
    looks, give, left, given = round(setup.delays.telemetry_s / look_s), GIVE[law.who], np.ones(setup.servers), 0.0
    sent: deque[tuple[float, Values]] = deque()
    for look in range(1, readings * looks + 1):
        now_s = look * look_s
        while sent and sent[0][0] <= now_s:
            left = _put(servers, left, *sent.popleft())
        servers.advance(now_s)
        free_w = (servers.watts - IDLE_W) / left
        over_w = float(free_w.sum()) + IDLE_W * setup.servers - law.threshold * setup.budget_w
        wanted = give(servers, setup.high, free_w, over_w) if over_w > 0 else np.ones(setup.servers)
        if law.lag_s:
            sent.append((now_s + law.lag_s, wanted))
        else:
            left = _put(servers, left, now_s, wanted)
        given += float((1.0 - left[~setup.high]).mean() / (1.0 - LEFT_LOW))
        if look % looks == 0:
            made.load[look // looks - 1] = meter.read(now_s)
            if now_s % HOUR_S < look_s or look == readings * looks:
                meter.fold(now_s)
    made.over_rating_s, made.trips = meter.over_rating_s, meter.trips
    return made, given / (readings * looks)


def _put(servers: Servers, left: Values, due_s: float, wanted: Values) -> Values:
    if (wanted != left).any():
        servers.advance(due_s)
        servers.lock(due_s, np.interp(wanted, POWER, CLOCKS))
    return wanted


def _spread(left: Values, of: Flags, least: float, free_w: Values, over_w: float) -> float:
    """Locks these alike, as far as it takes; W that are still above."""
    most_w = (1.0 - least) * float(free_w[of].sum())
    if over_w <= 0 or most_w <= 0:
        return over_w
    share = np.ceil(min(1.0, over_w / most_w) * LEVELS) / LEVELS
    left[of] = 1.0 - share * (1.0 - least)
    return over_w - share * most_w


def _even(servers: Servers, high: Flags, free_w: Values, over_w: float) -> Values:
    left = np.ones(len(high))
    over_w = _spread(left, ~high, LEFT_LOW, free_w, over_w)
    _spread(left, high, LEFT_HIGH, free_w, over_w)
    return left


def _phases(servers: Servers, high: Flags, free_w: Values, over_w: float) -> Values:
    left, reading = np.ones(len(high)), servers.reading
    for of, least in ((~high & ~reading, LEFT_LOW), (high & ~reading, LEFT_HIGH), (~high & reading, LEFT_LOW), (high & reading, LEFT_HIGH)):
        over_w = _spread(left, of, least, free_w, over_w)
    return left


def _requests(servers: Servers, high: Flags, free_w: Values, over_w: float) -> Values:
    """All of a lock for one server after another."""
    left, reading = np.ones(len(high)), servers.reading
    saved_w = (1.0 - LEFT_LOW) * free_w
    slowed = np.where(reading, READING_LOST, WRITING_LOST) * servers.held
    order = np.argsort(np.where(high, np.inf, slowed / np.maximum(saved_w, 1.0)))[: int((~high).sum())]
    before_w = np.cumsum(saved_w[order]) - saved_w[order]
    chosen = order[before_w < over_w]
    left[chosen] = LEFT_LOW
    _spread(left, high, LEFT_HIGH, free_w, over_w - float(saved_w[chosen].sum()))
    return left


GIVE: Final[dict[str, Callable[[Servers, Flags, Values, float], Values]]] = {"even": _even, "phases": _phases, "requests": _requests}


if __name__ == "__main__":
    sys.exit(main())
