"""docs/isolation.md's picture and tables, from the code itself: `python -m gpuwarden.controller.isolation.document FILE` writes them anew."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gpuwarden.controller.isolation.lifecycle import TABLE, Cause
from gpuwarden.controller.isolation.rails import ACTION_RAILS, SIGNAL_RAILS
from gpuwarden.controller.isolation.signals import SORTS, Sort

BEGIN, END = "<!-- begin: written by gpuwarden.controller.isolation.document -->\n", "<!-- end -->\n"
_FROM_MANY: Final = (Cause.HELD_BY_OTHERS, Cause.RESUMED_BY_OTHERS, Cause.RETURN_ORDERED, Cause.FOUND)  # words: arrows from everywhere hide the rest


def tables() -> str:
    return "\n".join((*_picture(), "", *_from_many(), "", "## Rails", "", *_rails(), "", "## What counts as evidence", "", *_evidence(), ""))


def _picture() -> Iterator[str]:
    yield from ("```mermaid", "stateDiagram-v2", "    [*] --> healthy")
    for (state, cause), to in TABLE.items():
        if cause not in _FROM_MANY:
            yield f"    {state.value} --> {to.value} : {cause.value}"
    yield "```"


def _from_many() -> Iterator[str]:
    for cause in _FROM_MANY:
        states = [state.value for (state, other) in TABLE if other is cause]
        (to,) = {to.value for (_, other), to in TABLE.items() if other is cause}
        yield f"- {cause.value}: to **{to}**, from {', '.join(states)}"


def _rails() -> Iterator[str]:
    yield from ("| rail | holds back | because |", "|---|---|---|")
    for holds, table in (("evidence", SIGNAL_RAILS), ("acts", ACTION_RAILS)):
        for name, rail in table.items():
            yield f"| `{name}` | {holds} | {_why(rail)} |"


def _why(rail: Callable[..., object]) -> str:
    """The first paragraph of what its module says of itself."""
    return (sys.modules[rail.__module__].__doc__ or "").partition("\n\n")[0].strip()


def _evidence() -> Iterator[str]:
    yield from ("| finding | witnesses | a job that uses it | nature |", "|---|---|---|---|")
    for kind, sort in SORTS.items():
        yield f"| `{kind}` | {', '.join(sorted(sort.witnesses))} | {sort.harm.name.lower()} | {_nature(sort)} |"


def _nature(sort: Sort) -> str:
    extra = ("older checkpoints only" if sort.corrupts else "", "a cap looks the same" if sort.slowness else "")
    return ", ".join((sort.nature.value, *filter(None, extra)))


def rewritten(text: str) -> str:
    """The page with its picture and tables made anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{tables()}{END}{tail}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
