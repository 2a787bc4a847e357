"""Arrays of numpy, on the host."""

import time
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
)

SIZE: Final = 512


class Numpy:
    """`numpy` is the module."""

    places: tuple[str, ...] = ("cpu",)

    def __init__(self, numpy: Any) -> None:
        self._np, self.by = numpy, f"numpy {numpy.__version__} on the host's processors"

    def product(self, place: int, number: int) -> Worked:
        np = self._np
        chance = np.random.default_rng(number)
        a, b = (chance.integers(-ENTRY_MOST, ENTRY_MOST + 1, (SIZE, SIZE)).astype(np.float32) for _ in range(2))
        x = chance.integers(-VECTOR_MOST, VECTOR_MOST + 1, (SIZE, VECTORS)).astype(np.float64)
        began_s = time.monotonic()
        c = a @ b
        took_s = time.monotonic() - began_s
        right = bool(np.array_equal(c.astype(np.float64) @ x, a.astype(np.float64) @ (b.astype(np.float64) @ x)))
        return Worked(2.0 * SIZE**3, took_s, right)

    def pattern(self, place: int, number: int, gib: float) -> Worked:
        words = max(1, round(gib * 2**27))
        try:
            chunks = [self._np.empty(min(CHUNK_WORDS, words - begin), dtype=self._np.int64) for begin in range(0, words, CHUNK_WORDS)]
            began_s = time.monotonic()
            for order, chunk in enumerate(chunks):
                chunk[:] = self._words(len(chunk), order, number)
            right = all(bool((chunk == self._words(len(chunk), order, number)).all()) for order, chunk in enumerate(chunks))
        except MemoryError:
            raise Lacks(f"{gib:g} GiB are not to be had") from None
        return Worked(16.0 * words, time.monotonic() - began_s, right)

    def _words(self, count: int, order: int, number: int) -> Any:
        np, which = self._np, number % (len(WORDS) + 1)
        if which < len(WORDS):
            return np.int64(WORDS[which])
        return np.arange(order * CHUNK_WORDS, order * CHUNK_WORDS + count, dtype=np.int64) * np.int64(ODD)
