"""Ledger lines in the making."""

from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.lines import SHOWN, Alike, Lines

OWN, SHARED = (("limit before", "W"), ("limit", "W")), (("row budget", 4e5, "W"),)


@given(st.lists(st.tuples(st.sampled_from(["cap", "floor", ""]), st.text(max_size=8), st.text(max_size=30), st.floats(), st.floats()), max_size=5), st.booleans())
def test_lines_that_are_alike_are_what_each_would_be_by_itself(rows: list[tuple[str, str, str, float, float]], performed: bool) -> None:
    lines = Lines()
    alike = Alike(lines, 7, performed, OWN, SHARED)
    for kind, subject, reason, before_w, limit_w in rows:
        evidence = (("limit before", before_w, "W"), ("limit", limit_w, "W"), *SHARED)
        assert alike.line(kind, subject, reason, (before_w, limit_w)) == lines.line(kind, subject, reason, epoch=7, performed=performed, evidence=evidence)


def test_the_newest_are_shown_with_the_time_at_which_they_were_made() -> None:
    lines = Lines()
    for number in range(SHOWN + 1):
        lines.unix_ns = number
        lines.line("mode", f"row-{number}", "asked for")
    assert [(line.subject, line.unix_ns) for line in lines.newest] == [(f"row-{number}", number) for number in range(SHOWN, 0, -1)]
