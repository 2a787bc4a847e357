"""Recorded dumps of a job with faults, and what may be done to them without changing the answer."""

import json
import os
import pickle
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("GPUWARDEN_DATA", Path(__file__).parents[3] / "shared" / "data")) / "flight_recorder"
CASES = sorted(folder.name for folder in DATA.iterdir()) if DATA.is_dir() else []

Recorded = dict[int, dict[str, Any]]


def recorded(case: str) -> Recorded:
    """By rank. Ours to unpickle freely: the files are the project's own."""
    return {int(file.name.removeprefix("_dump_")): pickle.loads(file.read_bytes()) for file in (DATA / case).glob("_dump_*")}


def injected(case: str) -> dict[int, str]:
    """Rank to class, as the one who injected the faults wrote down."""
    said = (DATA / case / "fault_injection.log").read_text(encoding="utf-8")
    return {int(rank): kind.lower() for rank, kind in re.findall(r"Rank (\d+), fault_type: (\w+)", said)}


def written(folder: Path, dumps: Mapping[int, dict[str, Any]], *, as_json: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for rank, dump in dumps.items():
        payload = json.dumps(dump).encode() if as_json else pickle.dumps(dump)
        (folder / f"nccl_trace_rank_{rank}").write_bytes(payload)
    return folder


def relabelled(dumps: Recorded, seed: int) -> tuple[Recorded, dict[int, int]]:
    """The same job with other numbers for its ranks; and which became which."""
    ranks = sorted(dumps)
    became = dict(zip(ranks, random.Random(seed).sample(ranks, len(ranks)), strict=True))
    made = Recorded()
    for rank, dump in dumps.items():
        config = {
            name: {**group, "ranks": str([became[member] for member in json.loads(group["ranks"])])} for name, group in dump["pg_config"].items()
        }
        made[became[rank]] = {**dump, "pg_config": config}
    return made, became


def levelled(dumps: Recorded, faulty: set[int]) -> Recorded:
    """The faulty ranks' dumps as if they had kept up: all that the nearest sound rank with groups like theirs has, in groups of their own."""
    return {rank: _kept_up(dumps, rank, faulty) if rank in faulty else dump for rank, dump in dumps.items()}


def _kept_up(dumps: Recorded, rank: int, faulty: set[int]) -> dict[str, Any]:
    mine = dumps[rank]
    sound = next(dumps[other] for other in sorted(set(dumps) - faulty, key=lambda other: abs(other - rank)) if _alike(dumps[other], mine))
    names, numbers = (dict(zip(of(sound), of(mine), strict=True)) for of in (_names, _numbers))
    peers = dict(pair for name in names if len(_ranks(sound, name)) == 2 for pair in zip(_ranks(sound, name), _ranks(mine, names[name]), strict=True))
    entries = [
        {
            **entry,
            "process_group": (names[entry["process_group"][0]], entry["process_group"][1]),
            "pg_id": int(numbers[str(entry["pg_id"])]),
            "profiling_name": _between(entry["profiling_name"], peers) if entry["process_group"][1] == "default_pg" else entry["profiling_name"],
        }
        for entry in sound["entries"]
    ]
    return {**mine, "entries": entries, "pg_status": {numbers[number]: status for number, status in sound["pg_status"].items()}}


def _between(name: str, peers: Mapping[int, int]) -> str:
    """In the group of all ranks a place is a rank."""
    return re.sub(r"\d+", lambda rank: str(peers[int(rank[0])]), name)


def _ranks(dump: dict[str, Any], name: str) -> list[int]:
    ranks: list[int] = json.loads(dump["pg_config"][name]["ranks"])
    return ranks


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def shape(dump: dict[str, Any]) -> list[str]:
        return [dump["pg_config"][name]["desc"] for name in _names(dump)]

    return shape(one) == shape(other) and len(one["pg_status"]) == len(other["pg_status"])


def _names(dump: dict[str, Any]) -> list[str]:
    return sorted(dump["pg_config"], key=int)


def _numbers(dump: dict[str, Any]) -> list[str]:
    return sorted(dump["pg_status"], key=int)
