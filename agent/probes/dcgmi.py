"""NVIDIA's own diagnostics, `dcgmi diag -r LEVEL --json`, for which its host engine must run.

A test that fails is a failure; warnings and what was skipped are counted and shown. The JSON has been the same from DCGM 2.4 to 4 but for the name of its
outermost table and of what a result is about, neither of which is read: categories have tests, tests have results, results have a status.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from gpuwarden.agent.probe_config import ProbeConfig
from gpuwarden.agent.probed import Figure, Outcome, Result, impossible
from gpuwarden.agent.probes.kind import Ended, printable, program, unread

TESTS_MOST: Final = 1000
DEPTH_MOST: Final = 8


def argv(probe: ProbeConfig) -> tuple[str, ...]:
    return (program(probe, "dcgmi"), "diag", "-r", str(probe.level), "--json")


def read(probe: ProbeConfig, ended: Ended) -> Result:
    begin, end = ended.output.find("{"), ended.output.rfind("}")  # it may print lines around it
    try:
        told = json.loads(ended.output[begin : end + 1])
    except (ValueError, RecursionError):
        return impossible("it printed too much to be read") if ended.cut else unread(ended)
    results = list(_results(told, "", 0))[:TESTS_MOST]
    counts = Counter(status for _, status in results)
    figures = tuple(Figure(f"tests {word}", float(counts[status]), "") for status, word in _WORDS.items())
    if failed := sorted({name for name, status in results if status == "fail"}):
        return Result(Outcome.FAILED, printable(f"level {probe.level}: {', '.join(failed)} failed"), figures)
    if not counts["pass"]:
        return unread(ended)
    return Result(Outcome.PASSED, f"level {probe.level}: {counts['pass']} tests passed, {counts['warn']} with warnings, {counts['skip']} skipped", figures)


_WORDS: Final = {"pass": "passed", "fail": "failed", "warn": "with warnings", "skip": "skipped"}


def _results(told: Any, test: str, depth: int) -> Iterator[tuple[str, str]]:
    """(test, status), wherever in it they stand."""
    if depth > DEPTH_MOST:
        return
    if isinstance(told, list):
        for one in told:
            yield from _results(one, test, depth + 1)
    elif isinstance(told, dict):
        name, status = told.get("name", test), told.get("status")
        if isinstance(status, str) and test:
            yield test, status.lower()
        for key in ("test_categories", "tests", "results"):
            yield from _results(told.get(key), str(name) if key == "results" else test, depth + 1)
        if depth == 0:
            for inner in told.values():
                yield from _results(inner, test, depth + 1)
