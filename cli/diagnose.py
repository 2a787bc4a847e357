"""`gpuwarden diagnose`: which rank holds a hung job up, from the dumps that its ranks left."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.detector.comm.flight_folder import Dumps
    from gpuwarden.detector.comm.hang import Finding, Verdict
    from gpuwarden.detector.comm.waits import Wait


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    asks = verbs.add_parser("diagnose", help="which rank holds a hung job up, from its Flight Recorder dumps; 1: nobody can be named")
    asks.add_argument("folder", type=Path, metavar="DIR", help="with one dump a rank: nccl_trace_rank_N, comm_lib_trace_rank_N or _dump_N, pickle or JSON")
    asks.add_argument("--html", type=Path, metavar="FILE", help="who is how far, and what is pending since when, as a picture")
    asks.add_argument("--json", action="store_true", help="the findings as JSON")
    asks.set_defaults(run=run, verb="diagnose")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.cli.diagnose_page import page
    from gpuwarden.detector.comm.flight_folder import dumps_in
    from gpuwarden.detector.comm.hang import verdict_on

    try:
        dumps = dumps_in(args.folder)
    except OSError as why:
        raise ConfigError(f"{args.folder}: {why.strerror or why}") from None
    if not dumps.by_rank:
        refused = "".join(f"\n  {name}: {why}" for name, why in dumps.refused.items())
        raise ConfigError(f"{args.folder}: has no dump that can be read; they are called nccl_trace_rank_N, comm_lib_trace_rank_N or _dump_N{refused}")
    verdict = verdict_on(dumps)
    print(json.dumps(figures(dumps, verdict), indent=1) if args.json else "\n".join(report(dumps, verdict)))
    if args.html is not None:
        try:
            args.html.write_text(page(str(args.folder), report(dumps, verdict), dumps, verdict), encoding="utf-8")
        except OSError as why:
            raise ConfigError(f"--html: {args.html}: {why.strerror or why}") from None
    return 0 if verdict.findings else 1


def report(dumps: "Dumps", verdict: "Verdict") -> list[str]:
    """Lines for a person."""
    lines = [f"{len(dumps.by_rank)} dumps read"]
    lines += [f"not read: {name}: {why}" for name, why in dumps.refused.items()]
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
    return ["  who waits for whom, from the farthest:", *(f"    {_step(wait)}" for wait in finding.chain)] if finding.chain else []


def _step(wait: "Wait") -> str:
    return f"{wait.who} waits in {wait.pending.said} of {wait.pending.group.desc} for {wait.whom}, which {wait.because.value}"


def figures(dumps: "Dumps", verdict: "Verdict") -> dict[str, Any]:
    """For JSON."""
    return {
        "dumps": len(dumps.by_rank), "refused": dict(dumps.refused), "missing": dumps.missing, "remarks": list(verdict.remarks),
        "findings": [
            {
                "ranks": list(one.ranks), "syndrome": one.syndrome, "class": one.kind, "confidence": one.confidence, "evidence": list(one.evidence),
                "held_up": one.held_up, "chain": [_step(wait) for wait in one.chain],
            }
            for one in verdict.findings
        ],
    }  # fmt: skip
