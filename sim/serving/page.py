"""One picture and its sentences as one HTML file."""

import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

POINTS: Final = 1500  # a curve has so many stretches, each drawn from its lowest to its highest
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}}svg{{width:100%;height:auto}}</style>
<h1>{title}</h1>{sentences}{picture}</html>
"""


def write(file: Path, title: str, sentences: list[str], draw: Callable[[Any, Any], object], ratios: tuple[int, int] = (3, 1)) -> None:
    """`draw` gets the upper and the lower axes, whose heights are as `ratios`. OSError if the file cannot be written."""
    with mpl.rc_context({"svg.hashsalt": "gpuwarden", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 8), layout="constrained")
        draw(*figure.subplots(2, 1, height_ratios=ratios))
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    file.write_text(_PAGE.format(title=html.escape(title), sentences=said, picture=svg.getvalue().partition("?>")[2]))


def curve(axes: Any, load: NDArray[np.float64], end: float, colour: str, name: str) -> None:
    if len(load) < 2 * POINTS:  # a stretch of one reading has no height
        axes.plot(np.linspace(0.0, end, len(load)), load, color=colour, linewidth=0.8, label=name)
        return
    parts = np.array_split(load, POINTS)
    axes.fill_between(
        np.linspace(0.0, end, len(parts)), [p.min() for p in parts], [p.max() for p in parts], color=colour, alpha=0.7, linewidth=0, label=name
    )
