"""The model of ordinary behaviour: silent through a job's starts, stops and steps, awake when one card drifts from its neighbours."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

PERIOD_S = 10.0
BUSY_W = 500.0  # a card's share of its node


def minutes_of(story: Any, agent: Any, count: float, wrong: Callable[[int], dict[tuple[str, str], float]]) -> None:
    for i in range(int(count * 60 / PERIOD_S)):
        story.send(agent.record(wrong(i), period_s=PERIOD_S))


def load(power_w: float, util: float) -> dict[tuple[str, str], float]:
    """The same load on all eight cards, each a little different from the next."""
    wrong = {}
    for i in range(8):
        wrong[f"GPU-{i}", "gpu_power_watts"] = power_w * (1 + 0.005 * i)
        wrong[f"GPU-{i}", "gpu_utilization_ratio"] = util
        wrong[f"GPU-{i}", "gpu_temperature_celsius"] = 25 + power_w / 18 + i
        wrong[f"GPU-{i}", "gpu_sm_clock_hertz"] = 1.2e9 + power_w * 1e6
    return wrong


def test_a_job_that_starts_steps_pauses_and_stops_is_ordinary(story: Any, agent: Any) -> None:
    for power_w, util, minutes in [(90, 0.0, 20), (650, 0.99, 60), (300, 0.7, 10), (690, 1.0, 30), (90, 0.0, 60), (500, 0.9, 30)]:
        minutes_of(story, agent, minutes, lambda _, p=power_w, u=util: load(p, u))
    assert story.lines == []


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("gpu_temperature_celsius", 85.0, "core temperature beside the node's other cards 19.4 C, was -0.5"),
        ("gpu_sm_clock_hertz", 1.2e9, "SM clock beside the node's other cards -0.351 ratio, was 0"),
        ("gpu_power_watts", 400.0, "power beside the node's other cards -0.394 ratio, was -0.00246"),
    ],
)
def test_one_card_that_drifts_from_its_neighbours_is_a_hint_after_minutes_not_before(
    story: Any, agent: Any, metric: str, value: float, said: str
) -> None:
    minutes_of(story, agent, 40, lambda _: load(650, 1.0))
    drifted = load(650, 1.0) | {("GPU-3", metric): value}
    minutes_of(story, agent, 3.5, lambda _: drifted)
    assert story.lines == []
    minutes_of(story, agent, 2, lambda _: drifted)
    (finding,) = story.findings
    assert (finding.kind, finding.subject.id, finding.severity) == ("gpu_unusual", "GPU-3", 1)
    assert f"as it has not before: {said}" in finding.summary
    minutes_of(story, agent, 15, lambda _: load(650, 1.0))
    assert [f.state for f in story.findings] == [1, 2]


def test_a_card_under_a_lower_limit_than_its_neighbours_is_not_compared_with_them(story: Any, agent: Any) -> None:
    minutes_of(story, agent, 40, lambda _: load(650, 1.0))
    capped = load(650, 1.0) | {
        ("GPU-3", "gpu_power_limit_enforced_watts"): 300.0, ("GPU-3", "gpu_power_watts"): 300.0, ("GPU-3", "gpu_sm_clock_hertz"): 0.9e9,
    }
    minutes_of(story, agent, 20, lambda _: capped)
    assert story.lines == []


def test_a_node_capped_as_a_whole_is_ordinary(story: Any, agent: Any) -> None:
    minutes_of(story, agent, 40, lambda _: load(690, 1.0))
    caps = {(f"GPU-{i}", "gpu_power_limit_enforced_watts"): 350.0 for i in range(8)}
    minutes_of(story, agent, 20, lambda _: load(350, 1.0) | caps)
    assert story.lines == []


def test_a_governor_that_changes_is_a_hint(story: Any, agent: Any) -> None:
    minutes_of(story, agent, 40, lambda _: {})
    minutes_of(story, agent, 6, lambda _: {("gpu01", "host_cpu_governor_performance_ratio"): 0.0})
    assert [(f.kind, f.subject.id) for f in story.findings] == [("host_unusual", "")]


def test_nothing_is_said_before_enough_is_known(story: Any, agent: Any) -> None:
    minutes_of(story, agent, 20, lambda _: load(650, 1.0))
    minutes_of(story, agent, 6, lambda _: load(650, 1.0) | {("GPU-3", "gpu_temperature_celsius"): 85.0})
    assert story.lines == []


Series = NDArray[np.float64]


def measured_power(folder: Path) -> Series:
    """(64 nodes, samples): the power of each, as eight cards would share it, every PERIOD_S."""
    told = defaultdict(list)
    with gzip.open(folder / "power" / "gpt3_64node_h100_power.csv.gz", "rt") as log:
        for row in csv.DictReader(log):
            told[row["node"]].append((float(row["time_s"]), float(row["power_w"]) / 8))
    times_s = np.arange(0, min(points[-1][0] for points in told.values()), PERIOD_S)
    return np.array([np.interp(times_s, *zip(*points, strict=True)) for _, points in sorted(told.items())])


def cards_of(power_w: Series) -> dict[tuple[str, str], float]:
    """What the cards of a node report, (8,)."""
    wrong = {(f"GPU-{i}", "gpu_power_watts"): float(w) for i, w in enumerate(power_w)}
    return wrong | {(f"GPU-{i}", "gpu_utilization_ratio"): float(w > BUSY_W) for i, w in enumerate(power_w)}


def told_of(story: Any, agent_of: Callable[..., Any], power_w: Series, again: int) -> list[tuple[str, str]]:
    """Eight nodes of eight of the measured series each, the whole job `again` times over."""
    agents = {f"n{i}": agent_of(node=f"n{i}") for i in range(8)}
    for now_w in [*power_w.T] * again:
        each = zip(agents.items(), now_w.reshape(8, 8), strict=True)
        story.poll([(name, agent.record(cards_of(cards), period_s=PERIOD_S)) for (name, agent), cards in each])
    return [(f.subject.node, f.subject.id) for f in story.findings]


def test_measured_power_of_a_training_job_run_three_times_fires_nothing(
    story: Any, agent_of: Callable[..., Any], data_dir: Path
) -> None:
    """64 series x 171 minutes of GPT-3 training, with its start, its pauses and its end: 7.6 device days."""
    assert told_of(story, agent_of, measured_power(data_dir), 3) == []


def test_a_measured_series_that_loses_a_quarter_of_its_power_is_found(
    story: Any, agent_of: Callable[..., Any], data_dir: Path
) -> None:
    power_w = measured_power(data_dir)
    power_w[19, 250:] *= 0.75
    assert told_of(story, agent_of, power_w, 1) == [("n2", "GPU-3")]
