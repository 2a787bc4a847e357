"""Tests of our own: a Python of their own does the work (`agent/selftest/`) and prints what it found as one line of JSON."""

import json
import math
import sys
from dataclasses import asdict
from typing import Any

from gpuwarden.agent.probe_config import ProbeConfig
from gpuwarden.agent.probed import Figure, Outcome, Result, impossible
from gpuwarden.agent.probes.kind import Ended, Kind, printable, unread


def own(module: str, pace: str, unit: str) -> Kind:
    """`pace` is the figure that must be `least` or more, in `unit`."""

    def argv(probe: ProbeConfig) -> tuple[str, ...]:
        asked = {key: value for key, value in asdict(probe).items() if key in ("gpus", "seconds", "memory_gib")}
        return (sys.executable, "-m", module, json.dumps(asked))

    def read(probe: ProbeConfig, ended: Ended) -> Result:
        try:
            told = json.loads(ended.output.strip().splitlines()[-1])
            by, wrong, lacks, value = (told[key] for key in ("by", "wrong", "lacks", "pace"))
        except (IndexError, KeyError, TypeError, ValueError, RecursionError):
            return unread(ended)
        if lacks:
            return impossible(printable(str(lacks)))
        return _judged(probe, printable(str(by)), printable(str(wrong)), value, pace, unit)

    return Kind(argv, read)


def _judged(probe: ProbeConfig, by: str, wrong: str, value: Any, pace: str, unit: str) -> Result:
    known = isinstance(value, float) and math.isfinite(value)
    figures = (Figure(pace, value, unit, probe.least or None),) if known else ()
    if wrong:
        return Result(Outcome.FAILED, f"{wrong} ({by})", figures)
    if not known:
        return impossible(f"it tells no pace ({by})")
    if value < probe.least:
        return Result(Outcome.FAILED, f"{pace} is {value:.4g} {unit}, should be {probe.least:g} or more ({by})", figures, slow=True)
    return Result(Outcome.PASSED, f"all results right, {pace} {value:.4g} {unit} ({by})", figures)
