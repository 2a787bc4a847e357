"""What follows from what in any node: heat from power, a fan's speed from heat, a host's clock from its load.

Such laws hold whatever job runs, so a node without peers can be judged by them, minute by minute, also just after its job has changed. Each is a
cubic regression (ridge) over all nodes together, so that a kind of job that is new to a node is not new to the law; what a node always
is beside it is its own offset. Under a cap of ours cards draw alike that else draw differently, so heat has other offsets there.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.peers import CLIP, GAIN, apart, moderate
from gpuwarden.detector.health.readings import NODE_READINGS, OF_CARDS, OF_HOSTS, POWER, Reading, Readings
from gpuwarden.detector.health.scale import Array

FORGET_MINUTES: Final = 7200.0  # half-life of the laws: five days
SLOWEST: Final = 1 / 2880  # a minute's part in a node's offset
LEARN_MINUTES: Final = 300  # of a node before it is judged by its own offset
NEW_MINUTES: Final = 10  # of a node that is new, before it is judged by the others'
FIT_MINUTES: Final = 60
SOON_MINUTES: Final = 600  # so long, every tenth minute
RIDGE: Final = 1e-6
STEADY: Final = 0.03  # by which the logarithm of a node's power may be off its mean of some minutes where heat is judged, which lags behind
FOLLOWS: Final = 0.2
MOST_ROWS: Final = 5e5
FLOOR: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Law:
    """`of` follows from `drivers`; all metrics' names, a card's its node's median. `steady`: only where power is."""

    of: str
    drivers: tuple[str, ...]
    steady: bool = False


_FAN, _CPU, _CPU_W = "host_bmc_fan_min_rpm", "host_cpu_utilization_ratio", "host_cpu_power_watts"
_CORE, _MEMORY = "gpu_temperature_celsius", "gpu_memory_temperature_celsius"
LAWS: Final = (
    Law("gpu_sm_clock_hertz", ()),
    Law("gpu_power_limit_enforced_watts", ()),
    Law(_CORE, (POWER, _FAN), steady=True),
    Law(_MEMORY, (POWER, "gpu_memory_utilization_ratio", _FAN), steady=True),
    Law(_FAN, (_CORE, POWER), steady=True),
    Law("host_cpu_clock_mean_hertz", (_CPU,)),
    Law("host_cpu_clock_min_hertz", (_CPU,)),
    Law(_CPU_W, (_CPU,)),
    Law("host_temperature_max_celsius", (_CPU_W,)),
    Law("host_bmc_power_watts", (POWER, _CPU_W, _FAN), steady=True),
    Law("host_cpu_system_ratio", (_CPU,)),
    Law("host_context_switches_total", (_CPU,)),
    Law("host_load5", (_CPU,)),
)
METRICS: Final = tuple(reading.metric for reading in (*OF_CARDS, *OF_HOSTS))
READING_OF: Final[tuple[Reading, ...]] = tuple(next(r for r, _ in NODE_READINGS if r.metric == law.of) for law in LAWS)
_OF: Final = [METRICS.index(law.of) for law in LAWS]
_DRIVERS: Final = [[METRICS.index(driver) for driver in law.drivers] for law in LAWS]
_STEADY: Final = np.array([law.steady for law in LAWS])
_POWER: Final = METRICS.index(POWER)


@dataclass(slots=True)
class Known:
    """What the laws have learned. Mutable, arrays only: sums of each law's regression, `centre` and `width` of each metric, `weights` last fitted;
    of each node its `offset` and the `minutes` it rests on (2, nodes, laws), second those of heat under a cap of ours, and the `smooth` rest (nodes, laws); (nodes,) its `power`; of all nodes (laws,) the `spread`.
    """

    squares: list[Array]
    products: list[Array]
    weights: list[Array]
    centre: Array
    width: Array
    offset: Array
    minutes: Array
    smooth: Array
    power: Array
    spread: Array
    spread_rows: Array
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Lawful:
    """(nodes, laws): `deviations`, NaN where a law says nothing; `seen` and `expected` on the readings' scale."""

    deviations: Array
    seen: Array
    expected: Array


def no_law_known(nodes: int) -> Known:
    """To begin with."""
    terms = [1 + 2 * len(drivers) + len(drivers) * (len(drivers) + 1) // 2 for drivers in _DRIVERS]
    one, laws = (nodes, len(LAWS)), len(LAWS)
    return Known(
        [np.zeros((n, n)) for n in terms], [np.zeros(n) for n in terms], [np.zeros(n) for n in terms], np.full(len(METRICS), np.nan), np.ones(len(METRICS)),
        np.zeros((2, *one)), np.zeros((2, *one)), np.zeros(one), np.zeros(nodes), np.zeros(laws), np.zeros(laws),
    )


def lawful(known: Known, readings: Readings, new: NDArray[np.bool_]) -> Lawful:
    """One minute, which also teaches. `new` (nodes,): came when others were known already, by how far apart whose offsets lie they are judged at first."""
    told = np.concatenate((_middle(readings.cards), readings.hosts), 1)
    known.power += FOLLOWS * (np.nan_to_num(told[:, _POWER]) - known.power)  # of idle cards 0: at a job's start heat lags behind
    restless = ~(np.abs(told[:, _POWER] - known.power) < STEADY)
    seen = told[:, _OF]
    seen[np.ix_(restless, _STEADY)] = np.nan
    _centre(known, told)
    says = np.full(seen.shape, np.nan)
    fits = known.passed % FIT_MINUTES == 0 or (known.passed < SOON_MINUTES and known.passed % 10 == 0)
    for law, drivers in enumerate(_DRIVERS):
        offset = np.where(readings.ours & _STEADY[law], *known.offset[::-1, :, law])
        terms = _terms((told[:, drivers] - known.centre[drivers]) / known.width[drivers])
        says[:, law] = _one(known, law, terms, seen[:, law], seen[:, law] - offset, fits)
    known.passed += 1
    return _rest(known, seen, says, readings.ours, new)


def _one(known: Known, law: int, terms: Array, seen: Array, without_offset: Array, fits: bool) -> Array:
    """What this law says (nodes,), before offsets."""
    usable = ~np.isnan(seen) & ~np.isnan(terms).any(1)
    rows = np.where(usable[:, None], terms, 0)
    keep = 0.5 ** (1 / FORGET_MINUTES)
    known.squares[law] = keep * known.squares[law] + rows.T @ rows
    known.products[law] = keep * known.products[law] + rows.T @ np.where(usable, without_offset, 0)
    if fits:
        known.weights[law] = _fitted(known.squares[law], known.products[law])
    return np.where(usable, rows @ known.weights[law], np.nan)


def _fitted(squares: Array, products: Array) -> Array:
    """Ridge regression whatever the terms' units: a cube is no more bound than a constant."""
    size = np.sqrt(np.maximum(np.diag(squares), 1e-12))
    weights = np.linalg.solve(squares / np.outer(size, size) + RIDGE * np.eye(len(size)), products / size)
    return np.asarray(weights / size, np.float64)


def _rest(known: Known, seen: Array, says: Array, ours: NDArray[np.bool_], new: NDArray[np.bool_]) -> Lawful:
    told = ~np.isnan(says)
    at = (ours[:, None] & _STEADY).astype(np.intp), *np.indices(seen.shape)
    expected = says + known.offset[at]
    rest = np.where(told, seen - expected, 0)
    known.minutes[at] += told
    minutes = known.minutes[at]
    deviation = np.sqrt(np.maximum(known.spread, FLOOR**2))
    most = np.where(known.spread_rows > 0, CLIP * deviation, np.inf)
    if known.passed > SOON_MINUTES:
        known.offset[at] += told * np.maximum(1 / np.maximum(minutes, 1), SLOWEST) * moderate(rest, most)
    known.smooth += told * GAIN * (rest - known.smooth)
    learned = told & (minutes > LEARN_MINUTES) & (known.passed > SOON_MINUTES)
    deviations = np.where(learned & (known.spread_rows > 0), known.smooth / deviation, np.nan)
    if new.any():
        early = new[:, None] & ~ours[:, None] & told & (minutes > NEW_MINUTES) & ~learned
        deviations = np.where(early, (known.offset[0] + known.smooth) / np.sqrt(deviation**2 + apart(known.offset[0], known.minutes[0] > LEARN_MINUTES)), deviations)
    squares = np.minimum(np.where(learned, known.smooth**2, 0), np.where(known.spread_rows > 0, 36 * known.spread, np.inf))
    count = known.spread_rows + learned.sum(0)
    known.spread = np.where(count > 0, (known.spread * known.spread_rows + squares.sum(0)) / np.maximum(count, 1), 0)
    known.spread_rows = np.minimum(count, MOST_ROWS)
    return Lawful(deviations, seen, expected)


def _centre(known: Known, told: Array) -> None:
    """Once for each metric, from the first minute in which nodes tell it: it only keeps the sums well conditioned."""
    for metric in np.flatnonzero(np.isnan(known.centre)):
        values = told[:, metric][~np.isnan(told[:, metric])]
        if len(values):
            known.centre[metric], known.width[metric] = float(values.mean()), max(float(values.std()), 0.1)


def _terms(drivers: Array) -> Array:
    """(nodes, terms): constant, all products of two, and cubes."""
    one = np.concatenate((np.ones((len(drivers), 1)), drivers), 1)
    first, second = np.triu_indices(one.shape[1])
    return np.concatenate((one[:, first] * one[:, second], drivers**3), 1)


def _middle(cards: Array) -> Array:
    """(nodes, readings): median over the cards (nodes, cards, readings) that tell."""
    ordered = np.sort(cards, 1)  # NaN goes last
    count = (~np.isnan(cards)).sum(1, keepdims=True)
    low, high = (np.take_along_axis(ordered, np.clip(at, 0, cards.shape[1] - 1), 1)[:, 0] for at in ((count - 1) // 2, count // 2))
    return np.where(count[:, 0] > 0, (low + high) / 2, np.nan)
