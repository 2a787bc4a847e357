"""A folder of dumps, one a rank. Whose each is stands at the end of its name: `_dump_3`, `nccl_trace_rank_3`, `comm_lib_trace_rank_3.json`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpuwarden.core.nccl.fields import Bad
from gpuwarden.detector.comm.flight_dump import MOST_BYTES, Dump, read

_NAME: Final = re.compile(r"^(?:_dump_|nccl_trace_rank_|comm_lib_trace_rank_)(\d{1,7})(?:\.(?:json|pickle|pkl))?$")


@dataclass(frozen=True, slots=True)
class Dumps:
    """`by_rank`: of those that could be read. `refused`: file name and why, of the others. `missing`: ranks that others know of and that left none."""

    by_rank: Mapping[int, Dump]
    refused: Mapping[str, str]

    @property
    def missing(self) -> list[int]:
        known = {rank for group in {group for dump in self.by_rank.values() for group in dump.groups} for rank in group.ranks}
        return sorted(known - set(self.by_rank))


def dumps_in(folder: Path) -> Dumps:
    """Files of other names are not looked at. Raises OSError where the folder cannot be read."""
    by_rank, refused = dict[int, Dump](), dict[str, str]()
    for file in sorted(folder.iterdir()):
        if (name := _NAME.match(file.name)) is not None:
            try:
                rank, dump = int(name[1]), _dump(file)
                _check(rank, dump, by_rank)
                by_rank[rank] = dump
            except (Bad, OSError) as why:
                refused[file.name] = str(why)
    return Dumps(by_rank, refused)


def _dump(file: Path) -> Dump:
    with file.open("rb") as opened:
        return read(opened.read(MOST_BYTES + 1))


def _check(rank: int, dump: Dump, by_rank: Mapping[int, Dump]) -> None:
    if rank in by_rank:
        raise Bad(f"file: is a second one of rank {rank}")
    for group in dump.groups:
        if rank not in group.ranks:
            raise Bad(f"pg_config: {group.desc!r} is of ranks {str(group.ranks)[:50]}, and not of rank {rank}, whose dump this is by its name")
