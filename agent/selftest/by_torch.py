"""Arrays of torch, on cards or on the host."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from gpuwarden.agent.selftest.arrays import (
    CHUNK_WORDS,
    ENTRY_MOST,
    ODD,
    VECTOR_MOST,
    VECTORS,
    WORDS,
    Lacks,
    Worked,
    Wrong,
)

CARD_SIZE: Final = 8192  # of a matrix: 256 MiB, and enough to keep every multiprocessor at work
HOST_SIZE: Final = 1024
_NO_ROOM: Final = ("out of memory", "ALLOC_FAILED")  # as CUDA and cuBLAS call it


class Torch:
    """`torch` is the module. With `gpus` 0 on the host."""

    def __init__(self, torch: Any, gpus: int) -> None:
        self._torch = torch
        there = torch.cuda.device_count() if gpus else 0
        if gpus and there == 0:
            raise Lacks(f"torch {torch.__version__} finds no card")
        if there < gpus:
            raise Wrong(f"torch finds {there} cards, should find {gpus}")
        self.places = tuple(f"cuda:{number}" for number in range(gpus)) or ("cpu",)
        self._size = CARD_SIZE if gpus else HOST_SIZE
        on = f"{gpus} {torch.cuda.get_device_name(0)}" if gpus else "the host's processors"
        self.by = f"torch {torch.__version__} on {on}"
        torch.backends.cuda.matmul.allow_tf32 = True  # the units that training uses

    def product(self, place: int, number: int) -> Worked:
        torch, at, n = self._torch, self.places[place], self._size
        with self._failing(at):
            chance = torch.Generator(device=at).manual_seed(number)
            a, b = (torch.randint(-ENTRY_MOST, ENTRY_MOST + 1, (n, n), generator=chance, device=at).float() for _ in range(2))
            x = torch.randint(-VECTOR_MOST, VECTOR_MOST + 1, (n, VECTORS), generator=chance, device=at).double()
            self._wait(at)
            began_s = time.monotonic()
            c = a @ b
            self._wait(at)
            took_s = time.monotonic() - began_s
            right = not bool((c.double() @ x != a.double() @ (b.double() @ x)).any())  # what is no number is unequal to everything
        return Worked(2.0 * n**3, took_s, right)

    def pattern(self, place: int, number: int, gib: float) -> Worked:
        torch, at = self._torch, self.places[place]
        with self._failing(at):
            words = max(1, round(gib * 2**27))
            chunks = [torch.empty(min(CHUNK_WORDS, words - begin), dtype=torch.int64, device=at) for begin in range(0, words, CHUNK_WORDS)]
            began_s = time.monotonic()
            for order, chunk in enumerate(chunks):
                chunk.copy_(self._words(at, len(chunk), order, number))
            self._wait(at)
            right = all(bool((chunk == self._words(at, len(chunk), order, number)).all()) for order, chunk in enumerate(chunks))
            return Worked(16.0 * words, time.monotonic() - began_s, right)

    def _words(self, at: str, count: int, order: int, number: int) -> Any:
        torch, which = self._torch, number % (len(WORDS) + 1)
        if which < len(WORDS):
            return torch.full((1,), WORDS[which], dtype=torch.int64, device=at)
        return torch.arange(order * CHUNK_WORDS, order * CHUNK_WORDS + count, dtype=torch.int64, device=at) * ODD

    def _wait(self, at: str) -> None:
        if at != "cpu":
            self._torch.cuda.synchronize(at)

    @contextmanager
    def _failing(self, at: str) -> Iterator[None]:
        """What a card answers beside results. Memory that others have is no fault of it."""
        try:
            yield
        except self._torch.OutOfMemoryError as why:
            raise Lacks(f"{at}: {why}") from None
        except (RuntimeError, MemoryError) as why:
            if at == "cpu" or any(word in str(why) for word in _NO_ROOM):  # of the host it can only be memory
                raise Lacks(f"{at}: {why}") from None
            raise Wrong(f"{at}: {why}") from None
