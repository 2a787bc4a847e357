"""The cells as one HTML file: where each month's time went, and what the figures that nobody has measured would make of it."""

from pathlib import Path
from typing import Any, Final

from gpuwarden.sim.crashes.lost import ROWS
from gpuwarden.sim.serving.page import write

_COLOURS: Final = {"post_checkpoint": "#2060b0", "detection": "#e08030", "diagnosis_isolation": "#c03030", "reinit": "#888888"}


def draw(file: Path, sentences: list[str], made: dict[str, Any]) -> None:
    """OSError if the file cannot be written."""

    def drawn(above: Any, below: Any) -> None:
        _cells(above, made)
        _sweep(below, made)

    write(file, "A month of a large training job that crashes", sentences, drawn, (1, 1))


def _cells(axes: Any, made: dict[str, Any]) -> None:
    cells = list(reversed(made["cells"]))
    names = [f"{cell['delays']}, {cell['crashes']} crashes, {_interval(cell['interval_s'])}" for cell in cells]
    left = [0.0] * len(cells)
    for row in ROWS:
        widths = [cell[f"{row}_percent"] for cell in cells]
        axes.barh(names, widths, left=left, color=_COLOURS[row], height=0.65, label=row.replace("_", " "))
        left = [one + width for one, width in zip(left, widths, strict=True)]
    for place, (cell, end) in enumerate(zip(cells, left, strict=True)):
        axes.annotate(f" {end:.2f} ± {cell['total_sd_percent']:.2f} %", (end, place), va="center")
    axes.set(xlabel="lost of the month, %")
    axes.margins(x=0.15)
    axes.legend(loc="lower right", frameon=False)


def _interval(interval_s: float) -> str:
    return f"a checkpoint each {interval_s / 60:.0f} min"


def _sweep(axes: Any, made: dict[str, Any]) -> None:
    swept = [one for one in made["sweep"] if "person_min" in one]
    for shown, colour in zip(sorted({one["shown_ratio"] for one in swept}, reverse=True), ("#2060b0", "#e08030", "#c03030"), strict=True):
        line = [one for one in swept if one["shown_ratio"] == shown]
        axes.plot([one["person_min"] for one in line], [one["total_percent"] for one in line], marker="o", color=colour, label=f"a test shows {100 * shown:.0f} % of such faults")
    axes.axhline(made["inputs"]["paper"]["after_total_percent"], color="#222222", linestyle=":", label="the paper's after")
    axes.axvline(made["inputs"]["stated"]["person_s"] / 60, color="#bbbbbb", linewidth=1, label="as stated")
    axes.set(xlabel="minutes that a person takes", ylabel="lost of the month, %", xlim=(0, None), ylim=(0, None))
    axes.legend(loc="upper left", frameon=False)
