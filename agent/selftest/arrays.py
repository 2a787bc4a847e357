"""Who reckons: torch if it is there, else numpy, else Python itself. Cards need torch.

All numbers are whole and so small that every sum is exact in the format used, in whichever order and precision (TF32 too) it is added up: a right product is
right to the last bit, and a wrong one is found by Freivalds' check, which multiplies by random vectors.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Final, Protocol

ENTRY_MOST: Final = 8
VECTOR_MOST: Final = 1000
VECTORS: Final = 4
WORDS: Final = (0, -1, -0x5555555555555556, 0x5555555555555555)
"""Of 64 bits: none, all, and every other bit."""
ODD: Final = 0x1E3779B97F4A7C15
"""Times a word's place: a pattern in which no two words of a chunk are the same (Knuth's multiplicative hash)."""
CHUNK_WORDS: Final = 1 << 23


class Lacks(Exception):
    """It cannot be tested here. This says nothing of the node."""


class Wrong(Exception):
    """The node answers, and wrongly."""


@dataclass(frozen=True, slots=True)
class Worked:
    """`work` is in floating point operations, or in bytes."""

    work: float
    took_s: float
    right: bool


class Arrays(Protocol):
    """`places` are the cards, or the one host. Both methods raise Lacks or Wrong."""

    by: str
    places: tuple[str, ...]

    def product(self, place: int, number: int) -> Worked:
        """One product of two random matrices."""
        ...

    def pattern(self, place: int, number: int, gib: float) -> Worked:
        """One pattern, written to so much memory and read back."""
        ...


def arrays(gpus: int) -> Arrays:
    """Lacks if cards are asked for that nobody here can reach; Wrong if there are fewer than asked for."""
    if (torch := _there("torch")) is not None:
        from gpuwarden.agent.selftest.by_torch import Torch

        return Torch(torch, gpus)
    if gpus:
        raise Lacks("torch is not there, and nothing else here reaches a card")
    if (numpy := _there("numpy")) is not None:
        from gpuwarden.agent.selftest.by_numpy import Numpy

        return Numpy(numpy)
    from gpuwarden.agent.selftest.by_python import Python

    return Python()


def _there(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)  # by name: the agent itself never loads it
    except (ImportError, OSError):  # also one whose libraries are broken
        return None
