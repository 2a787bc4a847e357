"""`gpuwarden diagnose`: which rank or network holds a job up, from what its communication libraries left."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.detector.comm.flight_folder import Dumps
    from gpuwarden.detector.comm.inspector_folder import Logs
    from gpuwarden.detector.comm.ras_folder import Answers
    from gpuwarden.detector.comm.verdict import Finding, Verdict

CALLED = "dumps are called nccl_trace_rank_N, comm_lib_trace_rank_N or _dump_N, RAS answers ras*.json or ras*.txt, Inspector's logs HOST-pidN.log"


@dataclass(frozen=True, slots=True)
class Left:
    """What a folder holds of a job."""

    dumps: "Dumps"
    answers: "Answers"
    logs: "Logs"

    @property
    def refused(self) -> dict[str, str]:
        return {**self.dumps.refused, **self.answers.refused, **self.logs.refused}


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    asks = verbs.add_parser("diagnose", help="which rank or network makes a job hang or slow, from NCCL's own records; 1: nobody can be named")
    asks.add_argument("folder", type=Path, metavar="DIR", help=CALLED)
    asks.add_argument("--html", type=Path, metavar="FILE", help="who is how far, and what is pending since when, as a picture")
    asks.add_argument("--json", action="store_true", help="the findings as JSON")
    asks.set_defaults(run=run, verb="diagnose")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.cli.diagnose_page import page
    from gpuwarden.detector.comm.flight_folder import dumps_in
    from gpuwarden.detector.comm.inspector_folder import logs_in
    from gpuwarden.detector.comm.ras_folder import answers_in

    try:
        left = Left(dumps_in(args.folder), answers_in(args.folder), logs_in(args.folder))
    except OSError as why:
        raise ConfigError(f"{args.folder}: {why.strerror or why}") from None
    if not left.dumps.by_rank and not left.answers.in_order and not left.logs.operations:
        refused = "".join(f"\n  {name}: {why}" for name, why in left.refused.items())
        raise ConfigError(f"{args.folder}: has nothing that can be read; {CALLED}{refused}")
    verdict = _verdict(left)
    lines = report(left, verdict)
    print(json.dumps(figures(left, verdict), indent=1) if args.json else "\n".join(lines))
    if args.html is not None:
        try:
            args.html.write_text(page(str(args.folder), lines, left.dumps, verdict), encoding="utf-8")
        except OSError as why:
            raise ConfigError(f"--html: {args.html}: {why.strerror or why}") from None
    return 0 if verdict.findings else 1


def _verdict(left: Left) -> "Verdict":
    """Each source's findings stand beside the others'."""
    from gpuwarden.detector.comm import hang, ras_hang, slow
    from gpuwarden.detector.comm.verdict import Verdict

    verdicts = [hang.verdict_on(left.dumps)] if left.dumps.by_rank else []
    verdicts += [ras_hang.verdict_on(left.answers.in_order)] if left.answers.in_order else []
    verdicts += [slow.verdict_on(left.logs.timings)] if left.logs.operations else []
    return Verdict(tuple(one for of in verdicts for one in of.findings), tuple(one for of in verdicts for one in of.remarks))


def report(left: Left, verdict: "Verdict") -> list[str]:
    """Lines for a person."""
    logs = f"{left.logs.operations:,} operations in {left.logs.files} logs"
    lines = [f"read: {len(left.dumps.by_rank)} dumps, {len(left.answers.in_order)} RAS answers, {logs}"]
    lines += [f"not read: {name}: {why}" for name, why in left.refused.items()]
    if not verdict.findings:
        lines.append("nothing found: no rank is behind its peers")
    for finding in verdict.findings:
        lines += ["", *_told(finding)]
    return [*lines, *(["", *verdict.remarks] if verdict.remarks else [])]


def _told(finding: "Finding") -> list[str]:
    head, *witnesses = finding.evidence
    said = f"{finding.syndrome}, {finding.kind}, confidence {finding.confidence:.2f}"
    waiting = f": {finding.held_up} others wait for it in the end" if finding.held_up else ""
    return [head, f"  {said}{waiting}", *(f"  {witness}" for witness in witnesses), *_chain(finding)]


def _chain(finding: "Finding") -> list[str]:
    return ["  who waits for whom, from the farthest:", *(f"    {step}" for step in finding.chain)] if finding.chain else []


def figures(left: Left, verdict: "Verdict") -> dict[str, Any]:
    """For JSON."""
    return {
        "dumps": len(left.dumps.by_rank), "ras_answers": len(left.answers.in_order), "operations": left.logs.operations, "refused": left.refused,
        "missing": left.dumps.missing,
        "remarks": list(verdict.remarks),
        "findings": [
            {
                "ranks": list(one.ranks), "syndrome": one.syndrome, "class": one.kind, "confidence": one.confidence, "evidence": list(one.evidence),
                "held_up": one.held_up, "chain": list(one.chain),
            }
            for one in verdict.findings
        ],
    }  # fmt: skip
