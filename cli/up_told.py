"""How `gpuwarden up` on real GPUs tells what was: figures for machines, sentences for people."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gpuwarden.cli.up_tally import Tally

if TYPE_CHECKING:
    from gpuwarden.detector.machine import Detector


def figures(tally: Tally, detector: "Detector", ledger: Counter[str]) -> dict[str, Any]:
    """Samples that nobody judged, judged again or refused are lost, whether or not the detector has seen the hole."""
    judged, repeated, refused = detector.samples_judged, detector.samples_repeated, detector.refused
    return {
        "samples_sent": tally.samples_sent,
        "samples_judged": judged,
        "samples_lost": max(detector.samples_lost, tally.samples_sent - judged - repeated - refused),
        "samples_repeated": repeated,
        "samples_refused": refused,
        "gpu_peak_w": round(tally.gpu_peak_w, 1),
        "findings": dict(sorted(tally.fired.items())),
        "findings_firing": [
            {"kind": one.kind, "subject": one.subject.id or one.subject.node, "summary": one.summary, "action": one.suggested_action}
            for one in tally.firing.values()
        ],
        "ledger_lines": ledger.total(),
        "ledger_kinds": dict(sorted(ledger.items())),
    }


def sentences(made: dict[str, Any]) -> Iterator[str]:
    """What a person wants to know when it is over."""
    yield f"{_cards(made['gpus'])} for {made['duration_s']:,.0f} s, mode {made['mode']}; all cards together drew {made['gpu_peak_w']:,.0f} W at most."
    yield (
        f"Telemetry: {made['samples_sent']:,} samples sent, {made['samples_judged']:,} judged, {made['samples_lost']} lost, "
        f"{made['samples_repeated']} judged twice, {made['samples_refused']} refused."
    )
    yield f"Findings: {_counted(made['findings']) or 'none'}."
    for one in made["findings_firing"]:
        yield f"  firing at the end: {one['subject']}: {one['summary']} -> {one['action']}"
    yield f"Ledger: {made['ledger_lines']:,} {'line' if made['ledger_lines'] == 1 else 'lines'} ({_counted(made['ledger_kinds']) or 'nothing was done'})."
    if left_w := made["limits_left_w"]:
        yield f"The cards' limits are left at {', '.join(f'{limit_w:,.0f}' for limit_w in left_w)} W, card by card."
    elif made["mode"] == "auto" and not made["not_capped_because"]:
        yield "The cards' limits are left as they were: the driver did not answer."
    for failure in made["failures"]:
        yield f"Ended early: {failure}."


def found(gpus: int, mode: str, why_not: str) -> str:
    """The first line: what will be done to this machine's cards."""
    if why_not:
        doing = f"nothing can be capped ({why_not})"
    else:
        doing = "capping, as --mode auto says" if mode == "auto" else "nothing is capped"
    return f"{_cards(gpus)} found: watching, {doing}."


def _cards(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _counted(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
