"""A node with two cards and a fan, read once or more a minute: small enough for days of telemetry in a test."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.detector.past.piece import MINUTE_NS
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.encode import encode, encode_block

FIRST = 28_333_440
CARDS = ("GPU-0", "GPU-1")
_GPU = [BY_NAME[name] for name in ("gpu_power_watts", "gpu_temperature_celsius", "gpu_sm_clock_hertz")]
_HOST = [BY_NAME[name] for name in ("host_load1", "host_fan_min_rpm")]


class FanNode:
    """Its temperatures follow its power, and its fan its temperatures; `slow` is a fan that does not."""

    def __init__(self, name: str, seed: int = 1, start: str = "a") -> None:
        self.name, self._start, self._sequence, self._chance = name, start, 0, Random(f"{name} {seed}")

    def minutes(self, first: int, end: int, slow: bool = False, readings: int = 1) -> Iterator[bytes]:
        """Of minutes since FIRST."""
        for minute in range(first, end):
            load = 1.0 + 0.05 * self._chance.gauss(0, 1)
            for reading in range(readings):
                yield self._record(minute, (reading + 0.5) / readings, load, slow)

    def _record(self, minute: int, share: float, load: float, slow: bool) -> bytes:
        gauss, self._sequence = self._chance.gauss, self._sequence + 1
        hot = 15.0 if slow else 0.0
        rows = [[500 * load + gauss(0, 2), 55 * load + hot + gauss(0, 0.3), 1.9e9 + gauss(0, 5e6)] for _ in CARDS]
        host = [[20 * load + gauss(0, 0.5), (2000.0 if slow else 8000 * load) + gauss(0, 30)]]
        blocks = [encode_block(Device.GPU, CARDS, _GPU, rows), encode_block(Device.HOST, [self.name], _HOST, host)]
        return encode(self.name, self._start, self._sequence, FIRST * MINUTE_NS + int((minute + share) * MINUTE_NS), blocks)


def recorded(folder: Path, *nodes: FanNode, minutes: int) -> None:
    """Their first minutes, as a recorder keeps them."""
    recorder = Recorder(Parquet(folder))
    for offset, payload in enumerate(payload for node in nodes for payload in node.minutes(0, minutes)):
        recorder.take(0, offset, payload)
    recorder.flush()
