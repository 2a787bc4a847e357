"""What the detector makes of telemetry as it comes is what recorded history makes of it."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from fakes.learned import Watched, learned
from fakes.lived import LivedNode

from gpuwarden.detector.events import Chosen, Polled, Raw, Tick
from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.detector.past import opened
from gpuwarden.detector.past.block import Past, read
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.detector.past.piece import MINUTE_NS, Span
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.decode import decode
from gpuwarden.proto.encode import encode

FIRST = 28_333_333
MINUTES = 70
CALM = (2, 12, 27)  # seeds whose nodes set no clock back, and restart their agents
NODES = ("a", "b", "c")
CARDS = ("GPU-0", "GPU-1", "GPU-2")


def sent(node: str, seed: int, passes: int) -> list[bytes]:
    """As Kafka has it: in order, with records lost and records twice."""
    ordered = sorted(set(LivedNode(node, seed, FIRST * MINUTE_NS, len(CARDS)).records(passes)), key=_head)
    chance = Random(seed)
    return [payload for one in ordered for payload in [one] * (2 if chance.random() < 0.05 else 1)]


def _head(payload: bytes) -> tuple[int, int]:
    sample = decode(payload)
    return int(sample.agent_start.removeprefix("start-")), sample.sequence


def recorded(folder: Path, payloads: Iterable[bytes], minutes: int) -> Past:
    recorder = Recorder(Parquet(folder))
    for offset, payload in enumerate(payloads):
        recorder.take(0, offset, payload)
    recorder.flush()
    with opened(f"parquet:{folder}") as source:
        return read(source, Span(FIRST, FIRST + minutes))


def watching(nodes: Iterable[str], cards: Iterable[str] = CARDS) -> Detector:
    model = learned(tuple(nodes), tuple(cards), [feature.name for feature in FEATURES[:3]])
    detector = Detector(DetectorSetup(), {"m": model})
    detector.step(0.0, Chosen("m", None, FIRST * MINUTE_NS))
    return detector


def lived(detector: Detector, payloads: Iterable[bytes], at_once: int) -> None:
    raws = [Raw(0, offset, decode(payload).node, payload) for offset, payload in enumerate(payloads)]
    for first in range(0, len(raws), at_once):
        detector.step(1.0, Polled(tuple(raws[first : first + at_once])))
    detector.step(1.0, Tick(max(decode(payload).unix_ns for payload in payloads) + 30 * 10**9))


@pytest.mark.parametrize("at_once", [7, 500])
def test_live_minutes_are_those_of_the_history_of_the_same_telemetry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """With readings missing, records lost and doubled, agents restarted, gaps, and counters that fall."""
    of = {node: sent(node, seed, 300) for node, seed in zip(NODES, CALM, strict=True)}
    mixed = [of[node][i] for i in range(max(map(len, of.values()))) for node in NODES if i < len(of[node])]
    past = recorded(tmp_path, mixed, MINUTES)
    assert past.left_out.restart_minutes > 3 and past.left_out.repeats and past.left_out.empty_minutes and not past.left_out.twice_minutes
    watched, detector = Watched(monkeypatch), watching(NODES)
    lived(detector, mixed, at_once)
    for row, node in enumerate(NODES):
        over = int(np.flatnonzero(~np.isnan(past.values[row]).all(1))[-1])  # the last one is still open
        assert over > 20
        np.testing.assert_array_equal(watched.block(node, FIRST, over), past.values[row, :over])


def test_a_clock_that_is_set_back_begins_anew_and_one_that_is_set_ahead_leaves_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, detector = Watched(monkeypatch), watching("a")
    seconds = [*range(0, 300, 5), *range(3000, 3300, 5), *range(600, 900, 5)]
    node = LivedNode("a", 5, 0, len(CARDS))
    node.metrics[Device.GPU] = [BY_NAME["gpu_power_watts"]]
    blocks = [blocks for _, blocks in node._passes(Random(5), len(seconds))]
    payloads = [encode("a", "s", n, FIRST * MINUTE_NS + second * 10**9, blocks[n - 1]) for n, second in enumerate(seconds, 1)]
    lived(detector, payloads, 10)
    assert sorted(minute - FIRST for _, minute in watched.made) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 50, 51, 52, 53]


def test_a_reading_that_a_slow_collector_brings_late_is_in_its_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = LivedNode("a", 5, FIRST * MINUTE_NS, len(CARDS))
    chance = Random(5)
    seconds = [*range(1, 70), 55, *range(70, 200)]
    heads = [(blocks, FIRST * MINUTE_NS + second * 10**9) for second, (_, blocks) in zip(seconds, node._passes(chance, len(seconds)), strict=True)]
    payloads = [encode("a", "s", number, unix_ns, blocks) for number, (blocks, unix_ns) in enumerate(heads, 1)]
    past = recorded(tmp_path, payloads, 3)
    watched, detector = Watched(monkeypatch), watching("a")
    lived(detector, payloads, 20)
    np.testing.assert_array_equal(watched.block("a", FIRST, 3), past.values[0])
