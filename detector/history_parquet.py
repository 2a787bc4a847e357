"""History as Parquet files in a folder."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpuwarden.detector.history import NotStored, Taken
from gpuwarden.detector.history_file import file_name, folder_of, hour_key, write
from gpuwarden.detector.history_table import tables
from gpuwarden.proto.decode import Sample


class Parquet:
    """One file an hour, partition and kind of row for what waits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = 0
        self._bytes = 0

    def admit(self, sample: Sample) -> None:
        """Whatever may come in may be kept."""

    def parts(self, taken: Sequence[Taken]) -> Iterable[Sequence[Taken]]:
        hours: defaultdict[str, list[Taken]] = defaultdict(list)
        for one in taken:
            hours[hour_key(one.kept.sample.unix_ns)].append(one)
        return hours.values()

    def write(self, partition: int, part: Sequence[Taken]) -> Mapping[str, int]:
        hour, offsets = hour_key(part[0].kept.sample.unix_ns), [one.offset for one in part]
        name = file_name(hour, partition, min(offsets), max(offsets), [one.digest for one in part])
        rows = Counter[str]()
        for kind, table in tables([one.kept for one in part]):
            path = folder_of(self._folder, kind, hour) / name
            try:
                write(table, path)
            except OSError as why:
                raise NotStored(f"{path.parent}: {why}") from why
            self._files += 1
            self._bytes += path.stat().st_size
            rows[kind] += table.num_rows
        return rows

    def figures(self) -> dict[str, Any]:
        return {"files": self._files, "bytes": self._bytes}
