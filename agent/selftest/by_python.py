"""Python's own whole numbers and bytes, on the host: slow, and there everywhere."""

import random
import time
from typing import Final

from gpuwarden.agent.selftest.arrays import CHUNK_WORDS, ENTRY_MOST, VECTOR_MOST, WORDS, Lacks, Worked

SIZE: Final = 48

Rows = list[list[int]]


class Python:
    """One processor."""

    places: tuple[str, ...] = ("cpu",)
    by = "Python itself, on one processor"

    def product(self, place: int, number: int) -> Worked:
        chance = random.Random(number)
        a, b = ([[chance.randint(-ENTRY_MOST, ENTRY_MOST) for _ in range(SIZE)] for _ in range(SIZE)] for _ in range(2))
        x = [[chance.randint(-VECTOR_MOST, VECTOR_MOST)] for _ in range(SIZE)]
        began_s = time.monotonic()
        c = _times(a, b)
        took_s = time.monotonic() - began_s
        return Worked(2.0 * SIZE**3, took_s, _times(c, x) == _times(a, _times(b, x)))

    def pattern(self, place: int, number: int, gib: float) -> Worked:
        count = max(8, round(gib * 2**30))
        word = (WORDS[number % len(WORDS)] & (1 << 64) - 1).to_bytes(8, "little")
        most = 8 * CHUNK_WORDS
        try:
            began_s = time.monotonic()
            chunks = [bytearray(word) * (min(most, count - begin) // 8) for begin in range(0, count, most)]
            right = all(chunk.count(word) == len(chunk) // 8 for chunk in chunks)
        except MemoryError:
            raise Lacks(f"{gib:g} GiB are not to be had") from None
        return Worked(2.0 * count, time.monotonic() - began_s, right)


def _times(a: Rows, b: Rows) -> Rows:
    columns = list(zip(*b, strict=True))
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in a]
