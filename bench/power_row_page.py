"""All cases of the serving row as one HTML file: the sweeps as pictures, every case in a table."""

import html
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = {"polca": "#2060b0", "one-threshold-low": "#30a060", "one-threshold-all": "#e08030", "none": "#888888"}
Sweeps = list[tuple[str, Any, str, dict[str, Any]]]
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}}svg{{width:100%;height:auto}}
table{{border-collapse:collapse;width:100%;font-size:13px}}td,th{{padding:2px 8px;text-align:right;border-bottom:1px solid #ddd}}
td:first-child,th:first-child,td:last-child,th:last-child{{text-align:left}}</style>
<h1>{title}</h1><p>{alone}</p>{picture}{tables}</html>
"""
_HEADS = ("case", "brakes", "trips", "s over", "peak", "high p50", "high p99", "low p50", "low p99", "answered", "misses")


def draw(file: Path, result: dict[str, Any], sweeps: Sweeps) -> None:
    """OSError if the file cannot be written."""
    with mpl.rc_context({"svg.hashsalt": "gpuwarden", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12, 9), layout="constrained")
        (brakes, late), (grid, relation) = figure.subplots(2, 2)
        _over_servers(brakes, late, [(at, told) for which, at, _, told in sweeps if which == "added"])
        _thresholds(grid, [(at, told) for which, at, _, told in sweeps if which == "thresholds"])
        _relation(relation, [(at, told) for which, at, _, told in sweeps if which == "relation"])
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    alone = ", ".join(f"{name} {value:g}" for name, value in result["row"].items())
    tables = "".join(f"<h2>{title}</h2>{_table(result[key])}" for key, title in (("first", "First half"), ("judged", "Second half"), ("swept", "Sweeps")))
    page = _PAGE.format(title="A serving row with servers added", alone=f"The row alone: {alone}", picture=svg.getvalue().partition("?>")[2], tables=tables)
    file.write_text(page)


def _over_servers(brakes: Any, late: Any, cases: list[tuple[tuple[str, float], dict[str, Any]]]) -> None:
    for name, colour in COLOURS.items():
        added = [100 * where for (who, where), _ in cases if who == name]
        told = [one for (who, _), one in cases if who == name]
        brakes.plot(added, [one["brakes"] for one in told], "o-", color=colour, label=name)
        late.plot(added, [_percent(one, "low", "p50") for one in told], "o-", color=colour, label=f"{name}, low")
        late.plot(added, [_percent(one, "high", "p50") for one in told], "o:", color=colour, markersize=3)
    brakes.set(xlabel="servers added, %", title="Brakes")
    brakes.set_yscale("symlog", linthresh=1)
    brakes.legend(frameon=False, loc="upper left")
    late.axhline(5.0, color="#c00000", linewidth=1)
    late.annotate("low may", (10, 5.0), xytext=(0, 3), textcoords="offset points", color="#c00000", fontsize=8)
    late.set(xlabel="servers added, %", ylabel="p50 against uncapped, %", title="Cost to the low priority (lines) and the high one (dots)")
    late.set_yscale("symlog", linthresh=10)
    for axes in (brakes, late):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter("{x:g}")


def _thresholds(axes: Any, cases: list[tuple[tuple[float, float], dict[str, Any]]]) -> None:
    """Each pair with the low priority's p50 and the peak; a cross where a bound is missed."""
    for (t1, t2), told in cases:
        missed = bool(told["misses"])
        axes.scatter(100 * t2, 100 * t1, s=240, marker="X" if missed else "o", color="#e08030" if missed else "#2060b0", alpha=0.6)
        says = f"low {_percent(told, 'low', 'p50'):+.1f} %\nhigh {_percent(told, 'high', 'p50'):+.1f} %\npeak {100 * told['peak_fraction']:.0f} %"
        axes.annotate(says, (100 * t2, 100 * t1), xytext=(0, -14), textcoords="offset points", ha="center", va="top", fontsize=8)
    axes.set(xlabel="T2, %", ylabel="T1, %", title="Thresholds: p50 and peak (cross: misses a bound)")
    axes.margins(0.12)
    axes.set_ylim(bottom=72)


def _relation(axes: Any, cases: list[tuple[tuple[float, float], dict[str, Any]]]) -> None:
    names = [f"saves {saving:g}, costs {cost:g}" for (saving, cost), _ in cases][::-1]
    for offset, (who, colour) in zip((0.2, -0.2), (("low", "#2060b0"), ("high", "#e08030")), strict=True):
        values = [_percent(told, who, "p50") for _, told in cases][::-1]
        axes.barh([place + offset for place in range(len(names))], values, height=0.38, color=colour, label=f"{who} priority")
        for place, value in enumerate(values):
            axes.annotate(f" {value:+.1f} %", (max(value, 0.0), place + offset), va="center", fontsize=8)
    brakes = [told["brakes"] for _, told in cases][::-1]
    axes.set_yticks(range(len(names)), [f"{name}\n{count} brakes" for name, count in zip(names, brakes, strict=True)])
    axes.set(xlabel="p50 against uncapped, %", title="Half and half again of what a lock does")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    axes.margins(x=0.15)


def _percent(told: dict[str, Any], who: str, quantile: str) -> float:
    return 100.0 * (float(told["latency"][who][f"{quantile}_ratio"]) - 1.0)


def _table(cases: dict[str, dict[str, Any]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in _cells(name, told))}</tr>" for name, told in cases.items())
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in _HEADS)}</tr>{lines}</table>"


def _cells(name: str, told: dict[str, Any]) -> list[str]:
    late = [f"{told['latency'][who][f'{q}_ratio']:.3f}" for who in ("high", "low") for q in ("p50", "p99")]
    counts = [str(told["brakes"]), str(told["trips"]), f"{told['over_rating_s']:.0f}", f"{told['peak_fraction']:.3f}"]
    return [name, *counts, *late, f"{told['throughput_ratio']:.4f}", ", ".join(told["misses"])]
