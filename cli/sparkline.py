"""Numbers as one line of blocks."""

import math
from collections.abc import Sequence
from typing import Final

_BLOCKS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], threshold: float) -> tuple[str, str]:
    """(a block for each value, the threshold's), on one scale; a blank where there is no number. A value has a higher block than the threshold if and only if it is above it."""
    scaled = [*filter(math.isfinite, values), threshold]
    low, high, steps = min(scaled), max(scaled), len(_BLOCKS) - 1

    def at(value: float) -> int:
        return round((value - low) / (high - low) * steps) if high > low else 0

    mark = min(at(threshold), steps - 1)

    def block(value: float) -> str:
        if not math.isfinite(value):
            return " "
        return _BLOCKS[max(at(value), mark + 1) if value > threshold else min(at(value), mark)]

    return "".join(map(block, values)), _BLOCKS[mark]
