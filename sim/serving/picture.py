"""A study as one HTML file: power against the budget, and who waited how much longer."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.policies.ladder import Ladder
from gpuwarden.sim.serving.page import curve, write


def draw(file: Path, title: str, sentences: list[str], made: dict[str, Any], loads: dict[str, NDArray[np.float64]], ladder: Ladder) -> None:
    """`loads`: share of the budget at each meter reading, by name. OSError if the file cannot be written."""

    def drawn(above: Any, below: Any) -> None:
        _power(above, loads, made["days"], ladder)
        _faults(above, made["faults"], made["days"])
        _latency(below, made["latency"])

    write(file, title, sentences, drawn)


def _power(axes: Any, loads: dict[str, NDArray[np.float64]], days: float, ladder: Ladder) -> None:
    unit, end = ("days", days) if days > 2.0 else ("hours", 24.0 * days)
    for (name, load), colour in zip(loads.items(), ("#bbbbbb", "#e08030", "#2060b0"), strict=True):
        curve(axes, load, end, colour, name)
    axes.axhline(1.0, color="#c00000", label="budget")
    for above in sorted({rung.above for rung in ladder}):
        axes.axhline(above, color="#888888", linestyle=":", linewidth=1)
        axes.annotate(f"{100 * above:.0f} %", (end, above), xytext=(4, -3), textcoords="offset points", annotation_clip=False)
    axes.set(xlabel=unit, ylabel="power, share of the budget", xlim=(0, end))
    axes.legend(loc="lower right", frameon=False, ncols=2)


def _faults(axes: Any, faults: list[dict[str, Any]], days: float) -> None:
    """Where each struck, by its name."""
    per_s = 1.0 / 86400.0 if days > 2.0 else 1.0 / 3600.0
    for number, one in enumerate(one for one in faults if one["struck"]):
        begin = 60.0 * one["minute"] * per_s
        axes.axvspan(begin, begin + one["seconds"] * per_s, color="#c00000", alpha=0.25, linewidth=0)
        axes.annotate(one["kind"], (begin, 0.02 + 0.05 * (number % 4)), xycoords=("data", "axes fraction"), fontsize=8, color="#c00000")


def _latency(axes: Any, latency: dict[str, dict[str, float]]) -> None:
    bars = [(f"{name} priority, {q}", 100 * (one[f"{q}_ratio"] - 1)) for name, one in latency.items() for q in ("p50", "p99")]
    names, values = zip(*reversed(bars), strict=True)
    axes.barh(names, values, color="#2060b0", height=0.6)
    axes.axvline(0.0, color="#222222", linewidth=1)
    for place, value in enumerate(values):
        axes.annotate(f" {value:+.1f} %", (max(value, 0.0), place), va="center")
    axes.set(xlabel="latency against the same servers without locks, %")
    axes.margins(x=0.15)
