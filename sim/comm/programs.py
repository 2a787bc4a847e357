"""What each rank of a job asks of its process groups, in order."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from gpuwarden.sim.comm.job import LAYERS
from gpuwarden.sim.comm.shape import Shape

WORLD, TENSOR, PIPELINE, DATA, EXPERT = "default_pg", "TENSOR_MODEL_PARALLEL_GROUP", "PIPELINE_MODEL_PARALLEL_GROUP", "DATA_PARALLEL_GROUP", "EXPERT_MODEL_PARALLEL_GROUP"
NAMES = {WORLD: "all_reduce", TENSOR: "all_reduce", DATA: "_reduce_scatter_base", EXPERT: "all_to_all"}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One object for each."""

    desc: str
    ranks: tuple[int, ...]


class Asks(NamedTuple):
    """`peer`: of the whole job, None for a collective, which is the group's `number`-th from 1; a message is the `number`-th of these two that way."""

    group: Group
    number: int
    name: str
    peer: int | None


@lru_cache(maxsize=2)
def programs(shape: Shape, steps: int) -> list[list[Asks]]:
    """By rank. One operation of all ranks, then forward and backward passes of all microbatches and the gradients' reduction."""
    world, known = Group(WORLD, tuple(range(shape.ranks))), dict[tuple[str, int], Group]()
    return [_numbered([(world, NAMES[WORLD], None), *_step(shape, rank, known) * steps]) for rank in range(shape.ranks)]


def _numbered(asks: list[tuple[Group, str, int | None]]) -> list[Asks]:
    seen, found = dict[tuple[int, str, int | None], int](), list[Asks]()
    for group, name, peer in asks:
        key = id(group), name, peer
        seen[key] = seen.get(key, 0) + 1
        found.append(Asks(group, seen[key], name, peer))
    return found


def _step(shape: Shape, rank: int, known: dict[tuple[str, int], Group]) -> list[tuple[Group, str, int | None]]:
    rest, tensor = divmod(rank, shape.tensor)
    data, stage = divmod(rest, shape.pipeline)
    first = data // shape.expert * shape.expert

    def group(desc: str, ranks: Iterable[int]) -> Group:
        of = tuple(ranks)
        return known.setdefault((desc, of[0]), Group(desc, of))

    peers = group(TENSOR, (shape.rank(data, stage, other) for other in range(shape.tensor)))
    stages = group(PIPELINE, (shape.rank(data, other, tensor) for other in range(shape.pipeline)))
    copies = group(DATA, (shape.rank(other, stage, tensor) for other in range(shape.data)))
    experts = group(EXPERT, (shape.rank(other, stage, tensor) for other in range(first, first + shape.expert)))
    layers = [(peers, NAMES[TENSOR], None)] * LAYERS if shape.tensor > 1 else []
    layers += [(experts, NAMES[EXPERT], None)] if shape.expert > 1 else []
    step = list[tuple[Group, str, int | None]]()
    for before, after in ((stage - 1, stage + 1), (stage + 1, stage - 1)):
        came = [(stages, "recv", stages.ranks[before])] if 0 <= before < shape.pipeline else []
        goes = [(stages, "send", stages.ranks[after])] if 0 <= after < shape.pipeline else []
        step += [*came, *layers, *goes] * shape.microbatches
    return [*step, *([(copies, NAMES[DATA], None)] if shape.data > 1 else [])]
