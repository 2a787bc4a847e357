"""The verdict on a hung job as one HTML file: how far each rank is in each of its groups, and what it has pending since when."""

import html
from collections.abc import Sequence
from typing import Final

from gpuwarden.detector.comm.flight_dump import Group
from gpuwarden.detector.comm.flight_folder import Dumps
from gpuwarden.detector.comm.verdict import Verdict, listed

ROW_PX: Final = 18
WIDE_PX: Final = 900
LEFT_PX: Final = 60
NAMED, OTHER = "#c0392b", "#7f8c8d"
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}}pre{{white-space:pre-wrap;background:#f6f6f6;padding:1em}}
table{{border-collapse:collapse;font-size:12px}}td,th{{padding:2px 5px;text-align:right;border:1px solid #eee}}th:first-child,td:first-child{{text-align:left}}
.named{{color:#c0392b;font-weight:bold}}div{{overflow-x:auto}}</style>
<h1>{title}</h1><pre>{report}</pre>
<h2>How far each rank is</h2><p>How many operations a rank is behind the foremost of its group, in asking for them or in doing them. A dot: not of the group, or not known.</p><div>{matrix}</div>
<h2>What is pending</h2><p>From when a rank asked for it, by its own clock, to the newest of all. Hover for its name.</p><div>{timeline}</div></html>
"""


def page(title: str, report: Sequence[str], dumps: Dumps, verdict: Verdict) -> str:
    """Whatever dumps say of themselves is text here."""
    named = {rank for finding in verdict.findings for rank in finding.ranks}
    return _PAGE.format(
        title=html.escape(title), report=html.escape("\n".join(report)), matrix=_matrix(dumps, named), timeline=_timeline(dumps, named)
    )


def _matrix(dumps: Dumps, named: set[int]) -> str:
    ranks = sorted(dumps.by_rank)
    head = "".join(f"<th{_class(rank, named)}>{rank}</th>" for rank in ranks)
    rows = [row for group in _uneven(dumps) if (row := _row(group, ranks, dumps))]
    return f"<table><tr><th>group</th>{head}</tr>{''.join(rows)}</table>" if rows else "<p>Everybody is level in every group.</p>"


def _uneven(dumps: Dumps) -> list[Group]:
    """Groups in which not all have done the same, or something is pending."""
    counts = dict[Group, set[tuple[int, int]]]()
    for dump in dumps.by_rank.values():
        for group, of in dump.counts.items():
            counts.setdefault(group, set()).add((of.asked, of.done))
    return sorted((group for group, seen in counts.items() if len(seen) > 1 or any(asked > done for asked, done in seen)), key=lambda one: (one.desc, one.ranks))


def _row(group: Group, ranks: Sequence[int], dumps: Dumps) -> str:
    counts = {rank: of for rank in ranks if (of := dumps.by_rank[rank].counts.get(group)) is not None}
    asked, done = (max(values) for values in zip(*((of.asked, of.done) for of in counts.values()), strict=True))
    behind = {rank: max(asked - of.asked, done - of.done) for rank, of in counts.items()}
    deepest = max(behind.values()) or 1
    cells = [_cell(behind[rank], deepest) if rank in behind else "<td>·</td>" for rank in ranks]
    return f"<tr><td>{html.escape(group.desc)} {listed(sorted(group.ranks))}</td>{''.join(cells)}</tr>"


def _cell(behind: int, deepest: int) -> str:
    pale = 255 - 155 * behind // deepest
    return f'<td style="background:rgb(255,{pale},{pale})">{-behind}</td>'


def _timeline(dumps: Dumps, named: set[int]) -> str:
    times = [one.created_ns for dump in dumps.by_rank.values() for one in dump.pending if one.created_ns]
    if not times:
        return "<p>Nothing is pending.</p>"
    first, last = min(times), max(times)
    scale = (WIDE_PX - LEFT_PX - 20) / max(last - first, 1)
    ranks = sorted(dumps.by_rank)
    drawn = [
        f'<text x="0" y="{ROW_PX * row + 13}"{_class(rank, named)}>{rank}</text>' + "".join(
            f'<rect x="{LEFT_PX + (one.created_ns - first) * scale:.1f}" y="{ROW_PX * row + 2}" height="{ROW_PX - 4}" '
            f'width="{(last - one.created_ns) * scale + 4:.1f}" fill="{NAMED if rank in named else OTHER}" fill-opacity="0.25">'
            f"<title>{html.escape(one.said)} of {html.escape(one.group.desc)}</title></rect>"
            for one in dumps.by_rank[rank].pending if one.created_ns
        )
        for row, rank in enumerate(ranks)
    ]  # fmt: skip
    scale_line = f'<text x="{LEFT_PX}" y="{ROW_PX * len(ranks) + 14}">0 s</text><text x="{WIDE_PX - 60}" y="{ROW_PX * len(ranks) + 14}">{(last - first) / 1e9:.2f} s</text>'
    return f'<svg width="{WIDE_PX}" height="{ROW_PX * (len(ranks) + 1)}" font-size="12" font-family="sans-serif">{"".join(drawn)}{scale_line}</svg>'


def _class(rank: int, named: set[int]) -> str:
    return ' class="named" fill="#c0392b"' if rank in named else ""
