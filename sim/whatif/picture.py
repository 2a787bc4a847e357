"""The answer as one HTML file: what was recorded, and how surely so many more fit."""

from pathlib import Path
from typing import Any

from gpuwarden.sim.serving.page import curve, write
from gpuwarden.sim.whatif.question import Answer, Question


def draw(file: Path, sentences: list[str], question: Question, answer: Answer) -> None:
    """OSError if the file cannot be written."""

    def drawn(above: Any, below: Any) -> None:
        _recorded(above, question)
        _sure(below, answer)

    write(file, f"How many more servers fit under {question.control.limit_w / 1e3:,.0f} kW?", sentences, drawn, (1, 1))


def _recorded(axes: Any, question: Question) -> None:
    hours = question.recorded.duration_s / 3600
    unit, end = ("days", hours / 24) if hours > 48 else ("hours", hours)
    curve(axes, question.recorded.power_w.sum(axis=0) / question.control.limit_w, end, "#2060b0", "as recorded")
    axes.axhline(1.0, color="#c00000", label="limit")
    for above in sorted({rung.above for rung in question.control.ladder}):
        axes.axhline(above, color="#888888", linestyle=":", linewidth=1)
        axes.annotate(f"{100 * above:.0f} %", (end, above), xytext=(4, -3), textcoords="offset points", annotation_clip=False)
    axes.set(xlabel=unit, ylabel="power, share of the limit", xlim=(0, end), ylim=(0, None))
    axes.legend(loc="lower right", frameon=False, ncols=2)


def _sure(axes: Any, answer: Answer) -> None:
    added, sure = [one.added for one in answer.table], [100 * one.fits_ratio for one in answer.table]
    axes.axvspan(max(0, answer.fit[0]), max(0, answer.fit[2]), color="#e08030", alpha=0.2, label="interval")
    axes.plot(added, sure, marker="o", color="#2060b0", label="keep every bound")
    for one in answer.table:
        axes.annotate(f"peak {100 * one.peak:.0f} %", (one.added, 100 * one.fits_ratio), xytext=(4, 6), textcoords="offset points")
    axes.set(xlabel="servers added", ylabel="share of the resamplings, %", ylim=(-5, 115))
    axes.legend(loc="lower left", frameon=False)
