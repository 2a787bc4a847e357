"""A study as one HTML file: power against the budget, and who waited how much longer."""

import html
import io
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpuwarden.controller.policies.ladder import Ladder

POINTS: Final = 1500  # a curve has so many stretches, each drawn from its lowest to its highest
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}}svg{{width:100%;height:auto}}</style>
<h1>{title}</h1>{sentences}{picture}</html>
"""


def draw(file: Path, title: str, sentences: list[str], made: dict[str, Any], loads: dict[str, NDArray[np.float64]], ladder: Ladder) -> None:
    """`loads`: share of the budget at each meter reading, by name. OSError if the file cannot be written."""
    with mpl.rc_context({"svg.hashsalt": "gpuwarden", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 8), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=(3, 1))
        _power(above, loads, made["days"], ladder)
        _latency(below, made["latency"])
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    file.write_text(_PAGE.format(title=html.escape(title), sentences=said, picture=svg.getvalue().partition("?>")[2]))


def _power(axes: Any, loads: dict[str, NDArray[np.float64]], days: float, ladder: Ladder) -> None:
    unit, end = ("days", days) if days > 2.0 else ("hours", 24.0 * days)
    for (name, load), colour in zip(loads.items(), ("#bbbbbb", "#e08030", "#2060b0"), strict=True):
        parts = np.array_split(load, min(POINTS, len(load)))
        axes.fill_between(np.linspace(0.0, end, len(parts)), [p.min() for p in parts], [p.max() for p in parts], color=colour, alpha=0.7, linewidth=0, label=name)
    axes.axhline(1.0, color="#c00000", label="budget")
    for above in sorted({rung.above for rung in ladder}):
        axes.axhline(above, color="#888888", linestyle=":", linewidth=1)
        axes.annotate(f"{100 * above:.0f} %", (end, above), xytext=(4, -3), textcoords="offset points", annotation_clip=False)
    axes.set(xlabel=unit, ylabel="power, share of the budget", xlim=(0, end))
    axes.legend(loc="lower right", frameon=False, ncols=2)


def _latency(axes: Any, latency: dict[str, dict[str, float]]) -> None:
    bars = [(f"{name} priority, {q}", 100 * (one[f"{q}_ratio"] - 1)) for name, one in latency.items() for q in ("p50", "p99")]
    names, values = zip(*reversed(bars), strict=True)
    axes.barh(names, values, color="#2060b0", height=0.6)
    axes.axvline(0.0, color="#222222", linewidth=1)
    for place, value in enumerate(values):
        axes.annotate(f" {value:+.1f} %", (max(value, 0.0), place), va="center")
    axes.set(xlabel="latency against the same servers without locks, %")
    axes.margins(x=0.15)
