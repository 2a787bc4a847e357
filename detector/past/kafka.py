"""Past from the telemetry that Kafka still has: played back into Parquet files of a temporary folder, and read from there.

Records come in the order of their partitions, late ones among them; files are in order of time, and take no memory.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gpuwarden.core.bus import BusConfig, BusError
from gpuwarden.core.bus_kafka_replay import replay
from gpuwarden.core.config import ConfigError, load, parse
from gpuwarden.detector.history import Recorder, Taken
from gpuwarden.detector.history_config import RecorderConfig
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.detector.past.block import BadPast
from gpuwarden.detector.past.parquet import Folder
from gpuwarden.detector.past.piece import Piece, Span
from gpuwarden.proto import topics


@contextmanager
def opened(where: str) -> Iterator["Topic"]:
    """`where` is brokers, host:port,.., or a file with a [bus] table. Nothing is read before it is known of what time."""
    with tempfile.TemporaryDirectory(prefix="gpuwarden-past-") as scratch:
        yield Topic(_config(where), Path(scratch))


def _config(where: str) -> BusConfig:
    try:
        if Path(where).is_file():
            return load(Path(where), RecorderConfig).bus
        return parse({"bootstrap": where.split(",")}, BusConfig, f"kafka:{where}")
    except ConfigError as why:
        raise BadPast(str(why)) from why


class Topic:
    """Telemetry from the earliest record that Kafka has to the newest as this is asked first."""

    def __init__(self, config: BusConfig, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._played: Span | None = None

    def nodes(self, span: Span) -> list[str]:
        return self._files(span).nodes(span)

    def pieces(self, nodes: Sequence[str], span: Span) -> Iterator[Piece]:
        yield from self._files(span).pieces(nodes, span)

    def _files(self, span: Span) -> Folder:
        if self._played is None:
            self._played = span
            self._play(span)
        if not self._played.first <= span.first <= span.end <= self._played.end:
            raise BadPast(f"span: minutes {span.first} to {span.end} are not within {self._played.first} to {self._played.end}, which were played back")
        return Folder(self._folder)

    def _play(self, span: Span) -> None:
        recorder = Recorder(_Within(self._folder, span))
        try:
            for record in replay(self._config, topics.TELEMETRY):
                recorder.take(record.partition, record.offset, record.value)
            recorder.flush()
        except (BusError, OSError) as why:
            raise BadPast(f"kafka: {why}") from why


class _Within(Parquet):
    """Files of what is of a span, and of nothing else."""

    def __init__(self, folder: Path, span: Span) -> None:
        super().__init__(folder)
        self._span = span

    def parts(self, taken: Sequence[Taken]) -> Iterable[Sequence[Taken]]:
        return super().parts([one for one in taken if self._span.start_ns <= one.kept.sample.unix_ns < self._span.end_ns])
