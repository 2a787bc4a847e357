"""Keeps this process out of swap: under memory pressure a lease must still end on time."""

import ctypes
import os
from typing import Final

_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4  # what was touched once stays; to fetch also what never is would cost 19 MiB more


def lock_memory() -> str:
    """'' or why the kernel refused: LimitMEMLOCK of the unit, or its filter of system calls."""
    libc = ctypes.CDLL(None, use_errno=True)
    return "" if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0 else os.strerror(ctypes.get_errno())
