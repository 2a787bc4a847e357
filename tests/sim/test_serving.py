"""The serving row: one request by hand, the mix, the envelope, and what a lock does to whom."""

import csv
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.sim.serving import model
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.meter import STEP_S, TRIP_S, Meter
from gpuwarden.sim.serving.model import Server
from gpuwarden.sim.serving.relation import CLOCKS, POWER, Relation
from gpuwarden.sim.serving.requests import (
    DAY_S,
    MIX,
    BadTrace,
    Envelope,
    Requests,
    asked,
    even_gaps,
    trace_gaps,
)
from gpuwarden.sim.serving.row import RowSetup, largest_rise, run
from gpuwarden.sim.serving.servers import Servers

HIGH = np.array([kind.high for kind in MIX])
SERVER = Server()
EVERY_S = 0.25


def some(*requests: tuple[float, int, int, int]) -> Requests:
    """(time in s, kind, prompt tokens, output tokens)."""
    times, kinds, prompts, outputs = zip(*requests, strict=True)
    return Requests(np.array(times), np.array(kinds, np.int8), np.array(prompts, np.int32), np.array(outputs, np.int32), np.zeros(len(times)))


def served(requests: Requests, seconds: float, clock: float = 1.0) -> tuple[Servers, np.ndarray]:
    """On one server of either priority; W of both, every so often."""
    servers = Servers(SERVER, np.array([True, False]), requests, HIGH, Relation())
    servers.lock(0.0, np.full(2, clock))
    drawn_w = []
    for until_s in np.arange(EVERY_S, seconds + EVERY_S, EVERY_S):
        servers.advance(until_s)
        drawn_w.append(servers.watts)
    return servers, np.array(drawn_w)


def test_one_request_takes_its_prompt_and_then_its_tokens() -> None:
    servers, drawn_w = served(some((0.0, 1, 2048, 100)), 10.0)
    assert servers.finish_s[0] == pytest.approx(0.5404 + 100 * 0.0488)
    idle_w, cards_w = SERVER.base_w + SERVER.idle_ratio * 3200, 3200
    assert drawn_w[-1] == pytest.approx([idle_w, idle_w])
    assert drawn_w[0] == pytest.approx([SERVER.base_w + 1.021 * cards_w, idle_w]), "the high priority's server reads the prompt"
    assert drawn_w[8, 0] == pytest.approx(SERVER.base_w + 0.614 * cards_w, rel=0.005), "its tokens, at a context of some 2100"


def test_two_requests_share_a_server_and_the_second_prompt_holds_the_first_back() -> None:
    alone, _ = served(some((0.0, 1, 1024, 400)), 40.0)
    both, _ = served(some((0.0, 1, 1024, 400), (5.0, 1, 2048, 400)), 40.0)
    left = 400 - (5.0 - 0.2892) / 0.0488  # tokens of the first when the second comes
    assert both.finish_s[0] - alone.finish_s[0] == pytest.approx(0.5404 + left * (0.0500 - 0.0488))


def test_a_lock_takes_hold_in_the_middle_of_a_prompt_and_of_its_tokens() -> None:
    asked_one, relation, clock = some((0.0, 1, 8192, 100)), Relation(), np.full(2, 0.787)
    for locked_s, prompt_left_s, tokens_left in ((1.0, 3.5932 - 1.0, 100.0), (5.0, 0.0, 100 - (5.0 - 3.5932) / 0.0488)):
        servers = Servers(SERVER, np.array([True, False]), asked_one, HIGH, relation)
        servers.advance(locked_s)
        servers.lock(locked_s, clock)
        servers.advance(60.0)
        left_s = prompt_left_s * 1.25 + tokens_left * 0.0488 * 1.03
        assert servers.finish_s[0] == pytest.approx(locked_s + left_s)


def test_requests_of_a_guest_go_to_its_server() -> None:
    asked_of = Requests(np.zeros(3), np.array([1, 1, 0], np.int8), np.full(3, 2048, np.int32), np.full(3, 9, np.int32), np.array([0.1, 0.6, 0.99]))
    servers = Servers(SERVER, np.array([True, True, False, False]), asked_of, HIGH, Relation())
    servers.advance(0.1)
    idle_w = SERVER.base_w + SERVER.idle_ratio * 3200
    assert (servers.watts > idle_w).tolist() == [True, True, False, True]


def test_the_meter_shows_the_last_quarter_of_a_second_and_the_breaker_feels_all_of_it() -> None:
    servers = Servers(SERVER, np.array([True, False]), some((1.9, 1, 2048, 100)), HIGH, Relation())
    idle_w, prompt_w = float(servers.watts.sum()), 3200 * (1.021 - SERVER.idle_ratio)
    meter = Meter(servers, 1 / (idle_w + 0.7 * prompt_w))
    servers.advance(2.0)
    assert meter.read(2.0) * (idle_w + 0.7 * prompt_w) == pytest.approx(idle_w + prompt_w * 0.1 / STEP_S)
    servers.advance(4.0)
    meter.fold(4.0)
    assert meter.over_rating_s == 0.5, "the prompt holds for 0.54 s, of which two quarters are filled by more than 0.7"


def test_a_breaker_trips_from_hot_after_what_its_curve_allows() -> None:
    servers = Servers(SERVER, np.array([True, False]), some((0.0, 1, 2048, 3000)), HIGH, Relation())
    servers.advance(1.0)
    meter = Meter(servers, 1.4 / float(servers.watts.sum()))
    servers.step_s.clear(), servers.step_w.clear()
    for until_s, trips in ((TRIP_S / (1.4**2 - 1) - 0.5, 0), (TRIP_S / (1.4**2 - 1) + 0.5, 1)):
        servers.advance(until_s)
        meter.fold(STEP_S * round(until_s / STEP_S))
        assert meter.trips == trips


def test_a_lock_draws_less_and_takes_longer() -> None:
    free, free_w = served(some((0.0, 2, 4096, 500)), 40.0)
    slow, slow_w = served(some((0.0, 2, 4096, 500)), 40.0, clock=0.787)
    assert 1.02 < slow.finish_s[0] / free.finish_s[0] <= 1.07, "at most 7 % for the request (POLCA)"
    assert 1 - slow_w.max() / free_w.max() == pytest.approx(0.13, abs=0.03), "a fifth of the cards' peak, of a server that is half cards"


def test_what_does_not_fit_waits_and_nothing_is_lost() -> None:
    many = some(*((0.0, 1, 1024, 200) for _ in range(SERVER.slots + 4)))
    servers, _ = served(many, 60.0)
    assert not np.isnan(servers.finish_s).any()
    assert servers.finish_s.argmax() >= SERVER.slots


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.5])
def test_the_relation_stretches_its_table(strength: float) -> None:
    relation = Relation(saving=strength, cost=strength)
    clocks = np.array(CLOCKS)
    assert 1 - relation.power(clocks)[1:] == pytest.approx(strength * (1 - np.array(POWER[1:])))
    assert np.all(np.diff(relation.prompt_time(clocks)) < 0) and np.all(np.diff(relation.token_time(clocks)) < 0)
    assert relation.power(np.ones(1)) == relation.prompt_time(np.ones(1)) == relation.token_time(np.ones(1)) == 1.0


def test_the_load_follows_the_envelope_and_the_mix() -> None:
    chance = np.random.default_rng(1)
    made = asked(even_gaps(20_000, chance), 2.0, 7 * DAY_S, Envelope(night=0.5), chance)
    by_hour = np.histogram(made.time_s % DAY_S, 24, (0, DAY_S))[0]
    assert by_hour[14] / by_hour[2] == pytest.approx(2.0, rel=0.05)
    assert (made.time_s >= 5 * DAY_S).sum() / (made.time_s < 5 * DAY_S).sum() == pytest.approx(0.7 * 2 / 5, rel=0.02)
    assert np.bincount(made.kind) / len(made.kind) == pytest.approx([0.25] * 4, abs=0.01)
    summaries = made.kind == 0
    assert (made.prompt_tokens[summaries].min(), made.prompt_tokens[summaries].max()) == (2048, 8192)


def test_the_load_goes_with_the_servers_of_each_priority() -> None:
    made, half = (requests_of(frozen(), 40, 0.5, 1, None, low_ratio) for low_ratio in (0.25, 0.5))
    assert (1 - HIGH[made.kind].mean(), 1 - HIGH[half.kind].mean()) == (pytest.approx(0.25, abs=0.01), pytest.approx(0.5, abs=0.01))
    doubled = requests_of(frozen(), 80, 0.5, 1, None)
    assert len(doubled.time_s) / len(half.time_s) == pytest.approx(2.0, rel=0.02)


def test_the_table_is_the_measured_one(data_dir: Path) -> None:
    found = defaultdict(list)
    with (data_dir / "power" / "splitwise_perf_model.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            if (row["model"], row["hardware"], row["tensor_parallel"], row["token_size"]) == ("bloom-176b", "a100-80gb", "8", "128"):
                found[int(row["prompt_size"]), int(row["batch_size"])].append(row)

    def median(prompt: int, batch: int, column: str) -> float:
        return statistics.median(float(row[column]) for row in found[prompt, batch])

    assert pytest.approx([median(tokens, 1, "prompt_time") / 1e3 for tokens in model.PROMPT_TOKENS], abs=1e-3) == model.PROMPT_S
    assert pytest.approx([median(tokens, 1, "peak_power") for tokens in model.PROMPT_TOKENS], abs=1e-3) == model.PROMPT_POWER
    assert pytest.approx([median(512, batch, "token_time") / 1e3 for batch in model.BATCHES], abs=1e-3) == model.TOKEN_S
    assert pytest.approx([median(512, batch, "average_power") for batch in model.BATCHES], abs=1e-3) == model.TOKEN_POWER
    assert pytest.approx([median(tokens, 1, "average_power") for tokens in model.PROMPT_TOKENS], abs=1e-3) == model.CONTEXT_POWER


def test_the_trace_is_read(data_dir: Path) -> None:
    gaps_s = trace_gaps(data_dir / "requests" / "azure_llm_2023_conv.csv")
    assert (len(gaps_s), 1 / gaps_s.mean()) == (19_365, pytest.approx(5.53, abs=0.01))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("TIMESTAMP,ContextTokens\nnever,1\n", "line 2"),
        ("time,ContextTokens\n2023-11-16 18:15:46.68,1\n", "TIMESTAMP"),
        ("TIMESTAMP\n2023-11-16 18:15:46.680590\n", "at least 2"),
        ("TIMESTAMP\n2023-11-16 18:15:46.680590\n2023-11-16 18:15:46.680590\n", "not all at once"),
        ("TIMESTAMP\n2023-11-16 18:15:46.680590\n2023-11-16 18:15:45.680590\n", "in order of time"),
    ],
)
def test_a_bad_trace_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "trace.csv").write_text(text)
    with pytest.raises(BadTrace, match=says):
        trace_gaps(tmp_path / "trace.csv")


def test_the_low_priority_pays_first_and_the_row_stays_lower() -> None:
    chance = np.random.default_rng(3)
    busy = asked(even_gaps(5000, chance), 1.6, 3 * 3600.0, Envelope(night=1.0), chance)
    free, capped = (run(RowSetup(12, 9, LADDERS[name], brake=False), busy, HIGH, 3 * 3600.0) for name in ("none", "polca"))
    assert capped.load.max() < free.load.max()
    slower = capped.finish_s - free.finish_s
    answered, high = ~np.isnan(slower), HIGH[busy.kind]
    assert np.median(slower[answered & ~high]) > np.median(slower[answered & high]) >= 0.0


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_either_priority_has_a_server(ratio: float) -> None:
    assert 1 <= RowSetup(3, 2, (), high_ratio=ratio).high.sum() <= 2


def test_the_same_seed_gives_the_same_run() -> None:
    def once() -> np.ndarray:
        chance = np.random.default_rng(5)
        return run(RowSetup(4, 3, LADDERS["polca"]), asked(even_gaps(500, chance), 0.5, 600.0, Envelope(), chance), HIGH, 600.0).load

    assert np.array_equal(once(), once())


def test_the_largest_rise_is_over_any_time_up_to_the_given_one() -> None:
    load = np.array([0.5, 0.4, 0.45, 0.7, 0.6, 0.9])
    assert largest_rise(load, 1) == pytest.approx(0.3)
    assert largest_rise(load, 4) == pytest.approx(0.5)
