"""What a block of the past says of telemetry that lost its order, its clock, its cards or its readings."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from fakes.lived import SECOND_NS, LivedNode

from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.detector.past import block, opened
from gpuwarden.detector.past.block import BadPast, Past, read
from gpuwarden.detector.past.features import CARDS, FEATURES, METRICS, columns
from gpuwarden.detector.past.piece import MINUTE_NS, Span
from gpuwarden.proto.catalogue import BY_NAME, Device, Kind
from gpuwarden.proto.decode import decode
from gpuwarden.proto.encode import encode, encode_block

FIRST = 28_333_333
GPU = [BY_NAME[name] for name in ("gpu_power_watts", "gpu_energy_joules_total", "gpu_capped_by_us")]
COLUMN = {feature.name: column for column, feature in enumerate(FEATURES)}


def record(
    second: float, sequence: int, powers_w: Sequence[float] = (500.0,), joules: float = math.nan, start: str = "a", ids: Sequence[str] = ()
) -> bytes:
    rows = [[power_w, joules, 1.0] for power_w in powers_w]
    gpus = encode_block(Device.GPU, list(ids) or [f"GPU-{card}" for card in range(len(rows))], GPU, rows)
    host = encode_block(Device.HOST, ["n"], [BY_NAME["host_load1"]], [[2.0]])
    return encode("n", start, sequence, FIRST * MINUTE_NS + int(second * SECOND_NS), [gpus, host])


def recorded(folder: Path, payloads: Iterable[bytes]) -> Path:
    recorder = Recorder(Parquet(folder))
    for offset, payload in enumerate(payloads):
        recorder.take(0, offset, payload)
    recorder.flush()
    return folder


def past(folder: Path, minutes: int = 10, nodes: Sequence[str] | None = None) -> Past:
    with opened(f"parquet:{folder}") as source:
        return read(source, Span(FIRST, FIRST + minutes), nodes)


def of(made: Past, feature: str) -> list[float]:
    """Of the first node, minute by minute; NaN as None, which is equal to itself."""
    return [None if math.isnan(value) else value for value in made.values[0, :, COLUMN[feature]].tolist()]  # type: ignore[misc]  # for ==


def test_means_and_rates_are_those_of_plain_arithmetic(tmp_path: Path) -> None:
    """Beside a reckoning without arrays, of telemetry whose clock nobody set and whose agent nobody restarted."""
    rng = Random(7)
    node = LivedNode("n", 63, FIRST * MINUTE_NS, cards=3)
    payloads = node.records(300)
    rng.shuffle(payloads)
    made = past(recorded(tmp_path, payloads), 30)
    assert (made.left_out.twice_minutes, made.left_out.restart_minutes) == (0, 0), "choose another seed"
    readings: defaultdict[tuple[int, str, str], dict[int, float]] = defaultdict(dict)
    for sample in map(decode, payloads):
        for readings_of in sample.readings:
            metrics = [m for m in BY_NAME.values() if m.device is readings_of.device]
            for device_id, row in zip(readings_of.ids, readings_of.values.tolist(), strict=True):
                for metric, value in zip(metrics, row, strict=True):
                    if not math.isnan(value):
                        minute = sample.unix_ns // MINUTE_NS - FIRST
                        readings[minute, device_id, metric.name][sample.unix_ns] = value
    wanted = np.full(made.values.shape, np.nan)
    for (minute, device_id, name), values in readings.items():
        feature = name if device_id == "n" else f"{name}[{device_id[4:]}]"
        if 0 <= minute < 30 and feature in COLUMN:
            wanted[0, minute, COLUMN[feature]] = plain(BY_NAME[name].kind, sorted(values.items()))
    assert np.isfinite(wanted).sum() > 200
    np.testing.assert_allclose(made.values, wanted, rtol=1e-6)


def plain(kind: Kind, values: list[tuple[int, float]]) -> float:
    if kind is not Kind.COUNTER:
        return fmean(value for _, value in values)
    (first_ns, first), (last_ns, last) = values[0], values[-1]
    return math.nan if last < first or last_ns == first_ns else (last - first) * SECOND_NS / (last_ns - first_ns)


def test_a_gap_is_a_gap_and_counted(tmp_path: Path) -> None:
    made = past(recorded(tmp_path, [record(second, n) for n, second in enumerate((5, 65, 245), 1)]), 5)
    assert of(made, "gpu_power_watts[0]") == [500.0, 500.0, None, None, 500.0]
    assert of(made, "host_load1") == [2.0, 2.0, None, None, 2.0]
    assert made.minutes.tolist() == list(range(FIRST, FIRST + 5))
    assert made.left_out.empty_minutes == 2


def test_a_missing_reading_leaves_the_others(tmp_path: Path) -> None:
    made = past(recorded(tmp_path, [record(1, 1, (math.nan,), 10.0), record(2, 2, (400.0,)), record(3, 3, (500.0,), 30.0)]), 1)
    assert of(made, "gpu_power_watts[0]") == [450.0]
    assert of(made, "gpu_energy_joules_total[0]") == [10.0]


@pytest.mark.parametrize("seed", range(5))
def test_order_and_repeats_change_nothing(tmp_path: Path, seed: int) -> None:
    payloads = LivedNode("n", seed, FIRST * MINUTE_NS).records(400)
    once = past(recorded(tmp_path / "once", dict.fromkeys(payloads)), 60)
    mixed = [*payloads, *payloads[:50]]
    Random(seed).shuffle(mixed)
    twice = past(recorded(tmp_path / "twice", mixed), 60)
    np.testing.assert_array_equal(once.values, twice.values)
    assert (once.left_out.repeats, twice.left_out.repeats) == (0, 3 * (len(mixed) - len(set(mixed))))


def test_minutes_that_a_node_lived_twice_are_left_out(tmp_path: Path) -> None:
    before = [record(5 * n, n, (100.0,)) for n in range(1, 73)]  # to 6:00
    after = [record(120 + 5 * (n - 72), n, (900.0,)) for n in range(73, 145)]  # from 2:00 to 8:00
    made = past(recorded(tmp_path, before + after))
    assert of(made, "gpu_power_watts[0]") == [100.0, 100.0, None, None, None, None, None, 900.0, 900.0, None]
    assert made.left_out.twice_minutes == 5


def test_a_clock_that_was_ahead_for_a_moment_costs_the_minutes_at_both_ends_of_its_jump(tmp_path: Path) -> None:
    ordinary = [record(5 * n, n + 2) for n in range(3, 100)]
    made = past(recorded(tmp_path, [record(5, 1), record(10, 2), record(363, 3), record(364, 4), *ordinary]), 9)
    assert of(made, "gpu_power_watts[0]") == [None, *[500.0] * 5, None, 500.0, 500.0]
    assert made.left_out.twice_minutes == 2


def test_a_collector_that_was_late_is_no_clock_that_was_set(tmp_path: Path) -> None:
    """Its record has the time of its own beginning, and a number of its end."""
    seconds = [*range(1, 70), 45, *range(70, 130)]
    made = past(recorded(tmp_path, [record(second, n) for n, second in enumerate(seconds, 1)]), 3)
    assert of(made, "gpu_power_watts[0]") == [500.0] * 3
    assert made.left_out.twice_minutes == 0


def test_a_minute_with_a_restart_has_means_and_no_rates(tmp_path: Path) -> None:
    first = [record(10 * n, n, joules=1000.0 * n) for n in range(1, 9)]
    second = [record(80 + 10 * n, n, joules=1e6 * n, start="b") for n in range(1, 9)]
    made = past(recorded(tmp_path, first + second), 3)
    assert of(made, "gpu_power_watts[0]") == [500.0] * 3
    assert of(made, "gpu_energy_joules_total[0]") == [100.0, None, 1e5]
    assert made.left_out.restart_minutes == 1


def test_a_counter_that_falls_has_no_rate_and_is_counted(tmp_path: Path) -> None:
    made = past(recorded(tmp_path, [record(n, n, joules=joules) for n, joules in enumerate((9.0, 10.0, 1.0), 1)]), 1)
    assert of(made, "gpu_energy_joules_total[0]") == [None]
    assert made.left_out.falls == 1


def test_our_own_caps_are_a_share_of_the_minute_and_other_states_are_no_features() -> None:
    states = {feature.metric.name for feature in FEATURES if feature.metric.kind is Kind.STATE}
    assert states == {"gpu_capped_by_us"}


def test_cards_sit_by_their_ids_and_a_new_one_takes_the_place_of_one_that_is_gone(tmp_path: Path) -> None:
    ids = [f"GPU-{card}" for card in range(CARDS)]
    before = [record(10, 1, [100.0 + card for card in range(CARDS)], ids=ids)]
    others = [*ids[:3], *ids[4:], "GPU-new"]
    after = [record(70, 2, [200.0 + i for i in range(CARDS)], ids=others)]
    made = past(recorded(tmp_path, before + after), 2)
    assert [of(made, f"gpu_power_watts[{card}]")[0] for card in range(CARDS)] == [100.0 + card for card in range(CARDS)]
    assert of(made, "gpu_power_watts[3]") == [103.0, 207.0]
    assert of(made, "gpu_power_watts[7]") == [107.0, 206.0]
    assert not made.left_out.other_cards


def test_a_ninth_card_at_once_is_left_out_and_counted(tmp_path: Path) -> None:
    made = past(recorded(tmp_path, [record(10, 1, [100.0 + card for card in range(10)])]), 1)
    assert [of(made, f"gpu_power_watts[{card}]") for card in range(CARDS)] == [[100.0 + card] for card in range(CARDS)]
    assert made.left_out.other_cards == {"n": 2}


def test_what_never_changes_and_what_is_never_known_is_told(tmp_path: Path) -> None:
    made = past(recorded(tmp_path, [record(10 * n, n, (100.0 + n,)) for n in range(1, 20)]), 3)
    assert set(made.left_out.constant) == {"gpu_capped_by_us[0]", "host_load1"}
    assert len(made.left_out.unknown) == len(FEATURES) - 3
    assert made.left_out.figures()["constant"] == ["gpu_capped_by_us[0]", "host_load1"]


def test_only_the_asked_nodes_and_minutes_are_read(tmp_path: Path) -> None:
    payloads = [p for name in "abc" for p in LivedNode(name, 1, FIRST * MINUTE_NS).records(50)]
    recorded(tmp_path, payloads)
    assert past(tmp_path).nodes == ("a", "b", "c")
    one = past(tmp_path, nodes=["c", "c", "z"])
    assert one.nodes == ("c", "z")
    assert np.isnan(one.values[1]).all() and not np.isnan(one.values[0]).all()
    whole = past(tmp_path)
    np.testing.assert_array_equal(whole.values[2], one.values[0])
    np.testing.assert_array_equal(past(tmp_path, 2).values, whole.values[:, :2])


def test_an_hour_of_more_rows_than_fit_is_read_some_nodes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpuwarden.detector import history_parts

    recorded(tmp_path, [p for name in "abcde" for p in LivedNode(name, 1, FIRST * MINUTE_NS).records(50)])
    whole = past(tmp_path)
    monkeypatch.setattr(history_parts.parts, "__defaults__", (70,))
    np.testing.assert_array_equal(past(tmp_path).values, whole.values)


def test_how_much_has_been_read_is_told(tmp_path: Path) -> None:
    recorded(tmp_path, [record(600 * n, n) for n in range(1, 30)])
    told = list[float]()
    with opened(f"parquet:{tmp_path}") as source:
        read(source, Span(FIRST, FIRST + 300), done=told.append)
    assert told == sorted(told) and len(told) > 4
    assert 0.9 < told[-1] <= 1.0


def test_every_feature_has_a_name_of_its_own_a_unit_and_a_place() -> None:
    assert len(COLUMN) == len(FEATURES) == CARDS * len(METRICS[Device.GPU]) + len(METRICS[Device.HOST])
    for card in (None, *range(CARDS)):
        mine = FEATURES[columns(card)]
        assert {feature.card for feature in mine} == {card}
        assert [f.metric for f in mine] == list(METRICS[Device.HOST if card is None else Device.GPU])
    units = {feature.name: feature.unit for feature in FEATURES}
    assert units["gpu_energy_joules_total[7]"] == "joules per second"
    assert (units["host_load1"], units["gpu_pcie_receive_bytes_per_second[0]"]) == ("1", "bytes_per_second")


def damaged(folder: Path) -> None:
    (path,) = folder.glob("kind=host/*/*.parquet")
    path.write_bytes(path.read_bytes()[:-8])


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no source": (lambda folder: opened("csv:x").__enter__(), "csv:x: is no source of history, known are parquet:DIR"),
    "no place": (lambda folder: opened("parquet:").__enter__(), "parquet:: is no source"),
    "no folder": (lambda folder: past(folder / "nowhere"), "nowhere: is not a folder"),
    "no time": (lambda folder: past(folder, 0), "span: ends in minute 28333333, should be after 28333333"),
    "a damaged file": (lambda folder: (damaged(folder), past(folder)), r"\.parquet: cannot be read as Parquet"),
    "no table": (lambda folder: opened(f"influx:{folder}/recorder.toml").__enter__(), "influx: is missing"),
    "no file": (lambda folder: opened("influx:/nowhere.toml").__enter__(), "/nowhere.toml: No such file"),
    "no broker": (lambda folder: opened("kafka:nobroker").__enter__(), "kafka:nobroker: bootstrap: 'nobroker' is not host:port"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_said(tmp_path: Path, case: str) -> None:
    recorded(tmp_path, [record(1, 1)])
    (tmp_path / "recorder.toml").write_text('[bus]\nbootstrap = ["127.0.0.1:1"]\n')
    ask, told = BAD[case]
    with pytest.raises(BadPast, match=told):
        ask(tmp_path)


def test_a_block_that_would_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path, [record(1, 1)])
    monkeypatch.setattr(block, "MOST_BYTES", 1 << 20)
    with pytest.raises(BadPast, match=r"span: 1 nodes and 1000 minutes take 1 MiB, at most 1 may be; ask for fewer"):
        past(tmp_path, 1000)
