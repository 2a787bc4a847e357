"""History in an InfluxDB 2, or in a VictoriaMetrics, which takes its writes."""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from influxdb_client.client.write_api import SYNCHRONOUS

from gpuwarden.detector import history_lines, influx
from gpuwarden.detector.history import NotStored, Taken
from gpuwarden.detector.history_config import InfluxConfig
from gpuwarden.detector.influx import InfluxError, calling
from gpuwarden.proto.decode import Sample

BATCH_LINES: Final = 5000
CALL_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
SAY_AGAIN_S: Final = 60.0
_DROPPED: Final = re.compile(r"dropped[ =](\d+)")

_log = logging.getLogger("gpuwarden.recorder")


class Influx:
    """Writes, and where that fails waits and tries again, until it succeeds or `stop` is set.

    `turned` is told after every request, `waits` after every one that failed, with the reason.
    """

    def __init__(
        self, config: InfluxConfig, stop: threading.Event, turned: Callable[[], object], waits: Callable[[str], object]
    ) -> None:
        self._config, self._stop, self._turned, self._waits = config, stop, turned, waits
        self._said: tuple[int, str] | None = None
        self._say_dropped_s = 0.0
        self._requests = self._bytes = self._dropped = 0

    def admit(self, sample: Sample) -> None:
        history_lines.check(sample)

    def parts(self, taken: Sequence[Taken]) -> Iterator[Sequence[Taken]]:
        part, size = list[Taken](), 0
        for one in taken:
            more = 1 + sum(len(readings.ids) for readings in one.kept.sample.readings)
            if part and size + more > BATCH_LINES:
                yield part
                part, size = [], 0
            part.append(one)
            size += more
        if part:
            yield part

    def write(self, partition: int, part: Sequence[Taken]) -> Mapping[str, int]:
        points = [point for one in part for point in history_lines.lines(one.kept.sample)]
        self._send([line.encode() for _, line in points])
        return Counter(measurement for measurement, _ in points)

    def figures(self) -> dict[str, Any]:
        return {"requests": self._requests, "bytes": self._bytes, "dropped": self._dropped}

    def _send(self, lines: Sequence[bytes]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._post(b"\n".join(lines))
            except InfluxError as why:
                if why.status == influx.TOO_LARGE and len(lines) > 1:
                    self._halve(lines)
                    return
                self._wait(why, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            self._on_written()
            return

    def _halve(self, lines: Sequence[bytes]) -> None:
        middle = len(lines) // 2
        self._send(lines[:middle])
        self._send(lines[middle:])

    def _post(self, body: bytes) -> None:
        """The points are durable on return, but for those that the server will never take."""
        self._requests += 1
        try:
            with calling(self._config, CALL_S) as client:
                client.write_api(SYNCHRONOUS).write(self._config.bucket, record=body)  # in nanoseconds
        except InfluxError as why:
            if why.status != influx.DROPPED:
                raise
            self._drop(str(why))
        self._bytes += len(body)

    def _drop(self, told: str) -> None:
        """As a rule the clock of a node was so wrong that the bucket's retention is over for them."""
        counted = _DROPPED.search(told)
        self._dropped += int(counted.group(1)) if counted else 1
        if time.monotonic() >= self._say_dropped_s:
            self._say_dropped_s = time.monotonic() + SAY_AGAIN_S
            _log.warning("left out, %d points by now: %s", self._dropped, told)

    def _wait(self, why: InfluxError, pause_s: float) -> None:
        kind = (why.status, str(why).partition(":")[0])  # a connection that is refused, then reset, is one trouble
        if kind != self._said:
            self._said = kind
            _log.warning("%s. What is read waits, and is not committed", why)
        self._waits(str(why))
        if self._stop.is_set() or self._stop.wait(pause_s):
            raise NotStored(f"{why}; what is not written there is not committed, and will be read again")

    def _on_written(self) -> None:
        if self._said:
            _log.info("%s takes it again", self._config.url)
            self._said = None
        self._turned()
