"""How a test of our own goes and what it prints: one line of JSON with by, pace, wrong and lacks."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from gpuwarden.agent.selftest.arrays import WORDS, Arrays, Lacks, Worked, Wrong, arrays

TIMES_LEAST: Final = len(WORDS) + 1  # each pattern once

Once = Callable[[Arrays, int, int], Worked]


def told(gpus: int, seconds: float, unit: float, once: Once) -> dict[str, Any]:
    """`once(arrays, place, number)` again and again at each place for `seconds`; `pace` is the slowest place's work a second, in `unit`."""
    made: dict[str, Any] = {"by": "", "pace": None, "wrong": "", "lacks": ""}
    try:
        work = arrays(gpus)
        made["by"] = work.by
        made["pace"] = min(_pace(work, place, seconds, once) for place in range(len(work.places))) / unit
    except Lacks as why:
        made["lacks"] = str(why)
    except Wrong as why:
        made["wrong"] = str(why)
    return made


def _pace(work: Arrays, place: int, seconds: float, once: Once) -> float:
    """The first, which also loads what is needed, counts for the results and not for the pace."""
    until_s, number, done, took_s = time.monotonic() + seconds, 0, 0.0, 0.0
    while number < TIMES_LEAST or time.monotonic() < until_s:
        worked = once(work, place, number)
        if not worked.right:
            raise Wrong(f"{work.places[place]}: result {number + 1} is wrong")
        if number:
            done, took_s = done + worked.work, took_s + worked.took_s
        number += 1
    return done / max(took_s, 1e-9)


def asked() -> dict[str, Any]:
    """What the agent wants, which has checked it."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    return wanted


def say(made: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(made) + "\n")
