"""Whatever comes, the detector goes on; and it decides the same again, whatever the hash seed."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.core.eventlog import digest
from gpuwarden.detector.events import Commit, DeadLetter, Event, Polled, Raw, Tick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.telemetry_pb2 import DeviceEvent
from gpuwarden.proto.topics import TELEMETRY

ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=False)
KINDS = st.sampled_from(["xid", "gpu_lost", "recovery_action", "driver_hung", "driver_reloaded", "of tomorrow", ""])


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.binary(max_size=200)), max_size=8))
def test_any_bytes_become_dead_letters(records: list[tuple[str, bytes]]) -> None:
    detector = Detector(DetectorSetup())
    raws = tuple(Raw(0, i, key, payload) for i, (key, payload) in enumerate(records))
    actions = detector.step(0.0, Polled(raws))
    assert len([a for a in actions if isinstance(a, DeadLetter)]) == detector.refused == len(raws) - detector.samples_judged
    assert actions[-1:] == ([Commit({(TELEMETRY, 0): len(raws)})] if raws else [])


@settings(max_examples=100)
@given(st.data())
def test_a_record_cut_or_changed_anywhere_is_judged_or_refused(data: st.DataObject) -> None:
    payload = bytearray(data.draw(telemetry("a", 1)))
    for place in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=6)):
        payload[place] = data.draw(st.integers(0, 255))
    detector = Detector(DetectorSetup())
    detector.step(0.0, Polled((Raw(0, 0, "a", bytes(payload[: data.draw(st.integers(0, len(payload)))])),)))
    assert detector.refused + detector.samples_judged == 1


@st.composite
def telemetry(draw: st.DrawFn, node: str, sequence: int) -> bytes:
    """What passes the door, and is as odd as it may be."""
    blocks = []
    for device in draw(st.lists(st.sampled_from(list(Device)), unique=True)):
        metrics = draw(st.lists(st.sampled_from(COLUMNS[device]), unique=True, max_size=12))
        ids = draw(st.lists(st.sampled_from([*"ABCD", ""]), unique=True, max_size=4))
        rows = [draw(st.lists(ANY_FLOAT, min_size=len(metrics), max_size=len(metrics))) for _ in ids]
        blocks.append(encode_block(device, ids, metrics, rows))
    events = [
        DeviceEvent(kind=draw(KINDS), device_id=draw(st.sampled_from("ABX")), code=draw(st.integers(-(2**63), 2**63 - 1)))
        for _ in range(draw(st.integers(0, 3)))
    ]
    start, unix_ns = draw(st.sampled_from(["s", "t", "u"])), draw(st.integers(0, 2**64 - 1))
    return encode(node, start, sequence, unix_ns, blocks, events=events)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = []
    for sequence in range(1, draw(st.integers(2, 12))):
        nodes = draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=2))
        raws = tuple(Raw(0, sequence, node, draw(telemetry(node, sequence))) for node in nodes)
        events.append(draw(st.sampled_from([Polled(raws), Polled(raws), Tick(sequence * 10**9)])))
    return events


@settings(max_examples=100)
@given(histories())
def test_whatever_passes_the_door_is_judged_and_judged_the_same_again(events: list[Event]) -> None:
    one, other = Detector(DetectorSetup()), Detector(DetectorSetup())
    for now_s, event in enumerate(events):
        assert digest(one.step(now_s * 4.0, event)) == digest(other.step(now_s * 4.0, event))
    offered = sum(len(e.records) for e in events if isinstance(e, Polled))
    assert one.refused + one.samples_judged + one.samples_repeated == offered


def test_the_hash_seed_changes_no_decision(tmp_path: Path) -> None:
    script = tmp_path / "story.py"
    script.write_text(STORY, encoding="utf-8")
    told = {
        subprocess.run(
            [sys.executable, script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for seed in ("0", "1", "424242")
    }
    assert len(told) == 1
    assert int(told.pop().split()[0]) > 30


STORY = """
from gpuwarden.core.eventlog import digest
from gpuwarden.detector.events import Polled, PublishFinding, Raw, Tick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.topics import TELEMETRY
from gpuwarden.proto.telemetry_pb2 import DeviceEvent

metrics = [BY_NAME[n] for n in ("gpu_row_remap_failure", "gpu_lost", "gpu_throttle_reasons", "gpu_nvlink_active_links")]
detector, actions = Detector(DetectorSetup(forget_s=50.0)), []
for t in range(1, 30):
    raws = []
    for n in range(6):
        rows = [[float(t > 5 and n == 2), float(t > 9 and i == 3), float(0x40 * (t % 7 > 2)), 18.0 - (t > 12) * i] for i in range(4)]
        ids = [f"GPU-{n}-{i}" for i in range(4 - (t > 20))]
        xids = [DeviceEvent(kind="xid", device_id=i, code=c) for i in ids for c in (31, 45, 79, 94) if (t + c + n) % 11 == 0]
        block = encode_block(Device.GPU, ids, metrics, rows[: len(ids)])
        raws.append(Raw(n % 3, t, f"n{n}", encode(f"n{n}", "s", t, t * 10**9, [block], events=xids)))
    actions += detector.step(float(t), Polled(tuple(raws)))
for t in range(30, 90):
    actions += detector.step(float(t), Tick(t * 10**9))
print(sum(isinstance(a, PublishFinding) for a in actions), digest(actions))
"""
