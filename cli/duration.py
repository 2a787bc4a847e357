"""A time as people write it."""

import argparse
from typing import Final

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration_s(text: str) -> float:
    """`30m`, `4h`, `2d`; ArgumentTypeError for anything else."""
    number, unit = text[:-1], text[-1:]
    try:
        return float(number) * _UNITS_S[unit]
    except (ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"is {text!r}, should be a number and one of {', '.join(_UNITS_S)}") from None
