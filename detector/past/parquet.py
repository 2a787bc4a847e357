"""Past from the Parquet files that a recorder writes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # has no types

from gpuwarden.detector.history_door import BadHistory
from gpuwarden.detector.history_lines import KINDS, start_of
from gpuwarden.detector.history_parts import Wanted, parts
from gpuwarden.detector.past.block import BadPast
from gpuwarden.detector.past.features import METRICS
from gpuwarden.detector.past.piece import Integers, Piece, Span
from gpuwarden.detector.past.reduced import heads_of, minutes_of
from gpuwarden.proto.catalogue import Device

_HEAD: Final = ("node", "agent_start", "sequence", "unix_ns", "device_id")


@contextmanager
def opened(where: str) -> Iterator["Folder"]:
    """`where` is the folder."""
    folder = Path(where)
    if not folder.is_dir():
        raise BadPast(f"parquet:{where}: is not a folder")
    yield Folder(folder)


class Folder:
    """History in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def nodes(self, span: Span) -> list[str]:
        found = set[str]()
        for device in METRICS:
            for part in self._parts(Wanted(KINDS[device], ("node",), span.start_ns, span.end_ns)):
                found.update(part.column("node").unique().to_pylist())
        return sorted(found)

    def pieces(self, nodes: Sequence[str], span: Span) -> Iterator[Piece]:
        for sweep, (device, metrics) in enumerate(METRICS.items()):
            columns = (*_HEAD, *(metric.name for metric in metrics))
            for part in self._parts(Wanted(KINDS[device], columns, span.start_ns, span.end_ns, nodes)):
                if part.num_rows:
                    yield _piece(device, part, nodes, span, sweep)

    def _parts(self, wanted: Wanted) -> Iterator[pa.Table]:
        try:
            yield from parts(self._folder, wanted)
        except BadHistory as why:
            raise BadPast(str(why)) from why


def _piece(device: Device, part: pa.Table, nodes: Sequence[str], span: Span, sweep: int) -> Piece:
    node = pc.index_in(part.column("node"), pa.array(nodes, pa.string())).to_numpy().astype(np.int64)
    sequence, unix_ns = (part.column(name).to_numpy().astype(np.int64) for name in ("sequence", "unix_ns"))
    start, device_id = _starts(part), part.column("device_id").to_numpy()
    place = np.unique(device_id.astype(np.str_), return_inverse=True)[1]
    order = np.lexsort((sequence, start, unix_ns, place, node))
    again = np.zeros(len(order), np.bool_)
    again[1:] = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in (sequence, start, unix_ns, place, node)])
    rows = order[~again]
    values = np.stack([part.column(metric.name).to_numpy() for metric in METRICS[device]], axis=1)
    minutes = minutes_of(device, node[rows], device_id[rows], unix_ns[rows], values[rows])
    through = (int(unix_ns.max()) - span.start_ns) / (span.end_ns - span.start_ns)
    return Piece(heads_of(node, start, sequence, unix_ns), (minutes,), (sweep + through) / len(METRICS), int(again.sum()))


def _starts(part: pa.Table) -> Integers:
    coded = part.column("agent_start").combine_chunks().dictionary_encode()
    numbers = np.array([start_of(name) for name in coded.dictionary.to_pylist()], np.int64)
    starts: Integers = numbers[coded.indices.to_numpy()]
    return starts
