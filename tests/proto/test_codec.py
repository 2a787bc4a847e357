"""Telemetry survives the wire, and what is wrong with a record is said with field and reason."""

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.proto.catalogue import BY_NAME, COLUMNS, Device, Metric
from gpuwarden.proto.decode import (
    MAX_DEVICES,
    MAX_EVENTS,
    MAX_PAYLOAD_BYTES,
    Refused,
    Sample,
    decode,
    decode_all,
)
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.telemetry_pb2 import Block, DeviceEvent, DeviceKind, GpuProcess, Telemetry

POWER, ENERGY = BY_NAME["gpu_power_watts"], BY_NAME["gpu_energy_joules_total"]
CPU = BY_NAME["host_cpu_utilization_ratio"]

float32 = st.floats(width=32, allow_infinity=False)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@st.composite
def matrices(draw: st.DrawFn) -> tuple[Device, list[str], list[Metric], list[list[float]]]:
    """A block's parts: some devices, some of their kind's metrics in any order, any readings."""
    device = draw(st.sampled_from(Device))
    ids = draw(st.lists(names, max_size=4, unique=True))
    metrics = draw(st.lists(st.sampled_from(COLUMNS[device]), max_size=6, unique=True))
    row = st.lists(float32, min_size=len(metrics), max_size=len(metrics))
    return device, ids, metrics, draw(st.lists(row, min_size=len(ids), max_size=len(ids)))


@given(matrices(), names, names, st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_every_reading_arrives_in_its_metric_s_column(
    parts: tuple[Device, list[str], list[Metric], list[list[float]]], node: str, start: str, sequence: int, unix_ns: int
) -> None:
    device, ids, metrics, rows = parts
    sample = decode(encode(node, start, sequence, unix_ns, [encode_block(device, ids, metrics, rows)]))
    (readings,) = sample.readings
    assert (sample.node, sample.agent_start, sample.sequence, sample.unix_ns) == (node, start, sequence, unix_ns)
    assert (readings.device, readings.ids) == (device, tuple(ids))
    expected = np.full((len(ids), len(COLUMNS[device])), np.nan, np.float32)
    for column, metric in enumerate(metrics):
        expected[:, COLUMNS[device].index(metric)] = [row[column] for row in rows]
    np.testing.assert_array_equal(readings.values, expected)
    assert readings.values.dtype == np.float32


def test_processes_and_events_arrive() -> None:
    process = GpuProcess(gpu_id="GPU-1", pid=7, memory_bytes=2**40, job_id="42", user="u", job_class="train")
    event = DeviceEvent(kind="xid", device_id="GPU-1", code=79, message="fallen off the bus")
    sample = decode(encode("n1", "a", 1, 2, [], [process], [event]))
    assert (sample.processes, sample.events) == ((process,), (event,))


def test_values_are_little_endian_float32_row_by_row() -> None:
    block = encode_block(Device.GPU, ["GPU-1", "GPU-2"], [POWER, ENERGY], [[1.0, 2.0], [3.0, math.nan]])
    assert block.values[:12] == struct.pack("<3f", 1.0, 2.0, 3.0)
    assert list(block.metrics) == [POWER.number, ENERGY.number]


def good(**changes: Any) -> Telemetry:
    """A record that may come in, but for these fields."""
    fields: dict[str, Any] = {"version": 1, "node": "n1", "agent_start": "a1", "sequence": 1, "unix_ns": 5}
    return Telemetry(**(fields | changes))


def block(**changes: Any) -> Block:
    fields: dict[str, Any] = {
        "kind": DeviceKind.DEVICE_KIND_GPU, "device_ids": ["GPU-1"], "metrics": [1], "values": struct.pack("<f", 450.0)
    }  # fmt: skip
    return Block(**(fields | changes))


@pytest.mark.parametrize(
    ("message", "field", "reason"),
    [
        (good(version=0), "version", "is 0, this reader knows 1"),
        (good(version=2), "version", "is 2, this reader knows 1"),
        (good(node=""), "node", "has 0 characters"),
        (good(node="x" * 254), "node", "has 254 characters"),
        (good(agent_start=""), "agent_start", "has 0 characters"),
        (good(sequence=0), "sequence", "is 0"),
        (good(events=[DeviceEvent()] * (MAX_EVENTS + 1)), "events", "are 1025"),
        (good(processes=[GpuProcess()] * (MAX_EVENTS + 1)), "processes", "are 1025"),
        (good(blocks=[block(), block()]), "blocks", "two blocks of one kind"),
        (good(blocks=[block(kind=0)]), "blocks.kind", "0 is not known"),
        (good(blocks=[block(kind=77)]), "blocks.kind", "77 is not known"),
        (good(blocks=[block(device_ids=["a", "a"], values=bytes(8))]), "blocks.device_ids", "one id twice"),
        (good(blocks=[block(device_ids=["x" * 254])]), "blocks.device_ids", "one of more than 253 characters"),
        (good(events=[DeviceEvent(device_id="x" * 254)]), "events.device_id", "more than 253 characters"),
        (good(blocks=[block(device_ids=map(str, range(MAX_DEVICES + 1)))]), "blocks.device_ids", "are 257"),
        (good(blocks=[block(metrics=[1, 1], values=bytes(8))]), "blocks.metrics", "one number twice"),
        (good(blocks=[block(metrics=[CPU.number])]), "blocks.metrics", "is host_cpu_utilization_ratio, which is not of a GPU"),
        (good(blocks=[block(values=b"")]), "blocks.values", "has 0 bytes, 1 devices x 1 metrics need 4"),
        (good(blocks=[block(values=bytes(5))]), "blocks.values", "has 5 bytes"),
        (good(blocks=[block(values=struct.pack("<f", math.inf))]), "blocks.values", "hold an infinity"),
        (good(blocks=[block(values=struct.pack("<f", -math.inf))]), "blocks.values", "hold an infinity"),
    ],
)
def test_a_wrong_record_is_refused_with_field_and_reason(message: Telemetry, field: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(message.SerializeToString())
    assert refused.value.field == field
    assert reason in refused.value.reason
    assert str(refused.value) == f"{field}: {refused.value.reason}"


def test_a_record_that_is_too_large_is_not_even_parsed() -> None:
    with pytest.raises(Refused, match=f"^payload: has {MAX_PAYLOAD_BYTES + 1} bytes"):
        decode(bytes(MAX_PAYLOAD_BYTES + 1))


def test_a_metric_of_a_newer_agent_is_left_out_and_its_neighbours_stay() -> None:
    message = good(blocks=[block(metrics=[1, 60_000, 8], values=struct.pack("<3f", 450.0, 1.0, 9.0))])
    (readings,) = decode(message.SerializeToString()).readings
    order = [metric.number for metric in COLUMNS[Device.GPU]]
    assert (readings.values[0, order.index(1)], readings.values[0, order.index(8)]) == (450.0, 9.0)
    assert np.isfinite(readings.values).sum() == 2


def test_an_infinity_in_a_column_of_a_newer_agent_harms_nobody() -> None:
    message = good(blocks=[block(metrics=[60_000], values=struct.pack("<f", math.inf))])
    assert np.isnan(decode(message.SerializeToString()).readings[0].values).all()


GOOD = encode("n1", "a1", 1, 2, [encode_block(Device.GPU, ["GPU-1"], [POWER], [[450.0]])])


@given(st.integers(0, len(GOOD) - 1))
def test_a_record_that_is_cut_short_is_refused_or_whole_up_to_there(length: int) -> None:
    decoded_or_refused(GOOD[:length])


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_a_record_with_a_flipped_bit_is_refused_or_still_a_sample(place: int, bit: int) -> None:
    flipped = bytearray(GOOD)
    flipped[place] ^= 1 << bit
    decoded_or_refused(bytes(flipped))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_a_sample_and_nothing_worse(noise: bytes) -> None:
    decoded_or_refused(noise)


def decoded_or_refused(payload: bytes) -> None:
    """Decodes, and holds what comes out to what the rest of the daemon trusts in."""
    try:
        sample = decode(payload)
    except Refused as refused:
        assert refused.field and refused.reason
        return
    assert isinstance(sample, Sample) and sample.node and sample.agent_start and sample.sequence > 0
    for readings in sample.readings:
        assert readings.values.shape == (len(readings.ids), len(COLUMNS[readings.device]))
        assert not np.isinf(readings.values).any()


def of_many_kinds(number: int) -> bytes:
    """Records of three layouts, every seventh of them bad in one of three ways."""
    metrics = [[1, 8], [8], [1, 60_000, 8]][number % 3]
    cards = [f"GPU-{number}-{card}" for card in range(number % 4)]
    values = np.arange(len(cards) * len(metrics), dtype=np.float32) + number
    if number % 7 == 5 and values.size:
        values[-1] = math.inf
    blocks = [block(metrics=metrics, device_ids=cards, values=values.tobytes()), Block(kind=DeviceKind.DEVICE_KIND_HOST, device_ids=["h"])]
    return good(sequence=number % 7, blocks=blocks).SerializeToString()[: -1 if number % 7 == 6 else None]


def test_together_each_is_what_it_is_alone_and_a_bad_one_harms_no_neighbour() -> None:
    payloads = [of_many_kinds(number) for number in range(100)]
    for payload, read in zip(payloads, decode_all(payloads), strict=True):
        if isinstance(read, Refused):
            with pytest.raises(Refused) as alone:
                decode(payload)
            assert str(alone.value) == str(read)
            continue
        other = decode(payload)
        assert read._replace(readings=()) == other._replace(readings=())
        for mine, theirs in zip(read.readings, other.readings, strict=True):
            assert (mine.device, mine.ids) == (theirs.device, theirs.ids)
            np.testing.assert_array_equal(mine.values, theirs.values)
    refused = [str(read) for read in decode_all(payloads) if isinstance(read, Refused)]
    assert {why.partition(":")[0] for why in refused} == {"sequence", "payload", "blocks.values"}


def test_a_row_of_the_wrong_length_is_the_caller_s_bug() -> None:
    with pytest.raises(AssertionError, match="1 values for 2 metrics"):
        encode_block(Device.GPU, ["GPU-1"], [POWER, ENERGY], [[1.0]])
    with pytest.raises(AssertionError, match="for 2 devices"):
        encode_block(Device.GPU, ["GPU-1", "GPU-2"], [POWER], [[1.0]])
