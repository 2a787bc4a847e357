"""docs/rules.md's tables, from the rules themselves: `python -m gpuwarden.detector.rules.document FILE` writes them anew."""

import sys
from collections.abc import Iterator
from pathlib import Path

from gpuwarden.detector.models import MODELS
from gpuwarden.detector.rules import RULES
from gpuwarden.detector.rules.rule import Rule
from gpuwarden.detector.rules.xid import XIDS
from gpuwarden.proto.finding_pb2 import Severity

BEGIN, END = "<!-- begin: written by gpuwarden.detector.rules.document -->\n", "<!-- end -->\n"


def tables() -> str:
    return "\n".join((*_rules(), "", "## Models", "", *_models(), "", "## XIDs", "", *_xids(), ""))


def _rules() -> Iterator[str]:
    yield "| finding | severity | says | fires | over after | do |"
    yield "|---|---|---|---|---|---|"
    for rule in RULES:
        cells = (f"`{rule.kind}`", _severity(rule.severity), rule.sentence, _fires(rule), f"{rule.quiet_s:g} s", rule.action)
        yield f"| {' | '.join(cells)} |"


def _models() -> Iterator[str]:
    yield "| finding | fires | over after |"
    yield "|---|---|---|"
    for line in MODELS:
        model = line.build(1)
        yield f"| `{model.kind}` | {model.patience.bad} of {model.patience.of} minutes | {model.patience.quiet_s:g} s |"


def _xids() -> Iterator[str]:
    yield "| finding | severity | meaning | over | do |"
    yield "|---|---|---|---|---|"
    for row in XIDS.values():
        over = "driver loaded anew, or boot" if row.needs_reset else "quiet for 10 min"
        yield f"| `xid_{row.code}` | {_severity(row.severity)} | {row.meaning} | {over} | {row.action} |"


def _fires(rule: Rule) -> str:
    return "at once" if rule.fires == (1, 1) else f"{rule.fires[0]} of {rule.fires[1]} samples"


def _severity(severity: "Severity.ValueType") -> str:
    return Severity.Name(severity).removeprefix("SEVERITY_").lower()


def rewritten(text: str) -> str:
    """The page with its tables made anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{tables()}{END}{tail}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
