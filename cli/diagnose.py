"""`gpuwarden diagnose`: which rank holds a hung job up, from the dumps that its ranks left and what its RAS port answered."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.detector.comm.flight_folder import Dumps
    from gpuwarden.detector.comm.ras_folder import Answers
    from gpuwarden.detector.comm.verdict import Finding, Verdict

CALLED = "dumps are called nccl_trace_rank_N, comm_lib_trace_rank_N or _dump_N, RAS answers ras*.json or ras*.txt"


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    asks = verbs.add_parser("diagnose", help="which rank holds a hung job up, from Flight Recorder dumps and RAS answers; 1: nobody can be named")
    asks.add_argument("folder", type=Path, metavar="DIR", help=CALLED)
    asks.add_argument("--html", type=Path, metavar="FILE", help="who is how far, and what is pending since when, as a picture")
    asks.add_argument("--json", action="store_true", help="the findings as JSON")
    asks.set_defaults(run=run, verb="diagnose")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.cli.diagnose_page import page
    from gpuwarden.detector.comm.flight_folder import dumps_in
    from gpuwarden.detector.comm.ras_folder import answers_in

    try:
        dumps, answers = dumps_in(args.folder), answers_in(args.folder)
    except OSError as why:
        raise ConfigError(f"{args.folder}: {why.strerror or why}") from None
    if not dumps.by_rank and not answers.in_order:
        refused = "".join(f"\n  {name}: {why}" for name, why in _refused(dumps, answers).items())
        raise ConfigError(f"{args.folder}: has nothing that can be read; {CALLED}{refused}")
    verdict = _verdict(dumps, answers)
    lines = report(dumps, answers, verdict)
    print(json.dumps(figures(dumps, answers, verdict), indent=1) if args.json else "\n".join(lines))
    if args.html is not None:
        try:
            args.html.write_text(page(str(args.folder), lines, dumps, verdict), encoding="utf-8")
        except OSError as why:
            raise ConfigError(f"--html: {args.html}: {why.strerror or why}") from None
    return 0 if verdict.findings else 1


def _verdict(dumps: "Dumps", answers: "Answers") -> "Verdict":
    """Each source's findings stand beside the other's."""
    from gpuwarden.detector.comm import hang, ras_hang
    from gpuwarden.detector.comm.verdict import Verdict

    verdicts = [hang.verdict_on(dumps)] if dumps.by_rank else []
    verdicts += [ras_hang.verdict_on(answers.in_order)] if answers.in_order else []
    return Verdict(tuple(one for of in verdicts for one in of.findings), tuple(one for of in verdicts for one in of.remarks))


def _refused(dumps: "Dumps", answers: "Answers") -> dict[str, str]:
    return {**dumps.refused, **answers.refused}


def report(dumps: "Dumps", answers: "Answers", verdict: "Verdict") -> list[str]:
    """Lines for a person."""
    lines = [f"read: {len(dumps.by_rank)} dumps, {len(answers.in_order)} RAS answers"]
    lines += [f"not read: {name}: {why}" for name, why in _refused(dumps, answers).items()]
    if not verdict.findings:
        lines.append("nothing found: no rank is behind its peers")
    for finding in verdict.findings:
        lines += ["", *_told(finding)]
    return [*lines, *(["", *verdict.remarks] if verdict.remarks else [])]


def _told(finding: "Finding") -> list[str]:
    head, *witnesses = finding.evidence
    said = f"{finding.syndrome}, {finding.kind}, confidence {finding.confidence:.2f}: {finding.held_up} others wait for it in the end"
    return [head, f"  {said}", *(f"  in {witness}" for witness in witnesses), *_chain(finding)]


def _chain(finding: "Finding") -> list[str]:
    return ["  who waits for whom, from the farthest:", *(f"    {step}" for step in finding.chain)] if finding.chain else []


def figures(dumps: "Dumps", answers: "Answers", verdict: "Verdict") -> dict[str, Any]:
    """For JSON."""
    return {
        "dumps": len(dumps.by_rank), "ras_answers": len(answers.in_order), "refused": _refused(dumps, answers), "missing": dumps.missing,
        "remarks": list(verdict.remarks),
        "findings": [
            {
                "ranks": list(one.ranks), "syndrome": one.syndrome, "class": one.kind, "confidence": one.confidence, "evidence": list(one.evidence),
                "held_up": one.held_up, "chain": list(one.chain),
            }
            for one in verdict.findings
        ],
    }  # fmt: skip
