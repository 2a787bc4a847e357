"""Becomes the program that it is told, which the kernel ends with the agent: `python -m gpuwarden.agent.mortal PARENT PROGRAM [ARGUMENT ...]`."""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h; the signal comes when the thread that made this process ends
CANNOT_BE_RUN: Final = 126  # as shells say it


def become(parent: int, argv: list[str]) -> None:
    """Returns never: what cannot be run ends with 126, and says why."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had died before
        os._exit(CANNOT_BE_RUN)
    try:
        os.execv(argv[0], argv)
    except OSError as why:
        sys.stderr.write(f"{argv[0]}: {why.strerror}\n")
        sys.stderr.flush()
        os._exit(CANNOT_BE_RUN)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
