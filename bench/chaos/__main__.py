"""What an operator may fear, done for real to a row under load: one table, a line a fault.

    python bench/chaos [--only REGEX] [--json FILE]

Separate processes on simulated cards, gRPC and Unix sockets; a supervisor does with every unit of deploy/systemd what systemd would do.
All cards' limits are looked at twenty times a second and held against the grants that the limiter should have accepted, against the
budget and against the ledger: a card must be at its floor or under a lease that runs, 1 s after any lease has ended, whatever happened.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

from chaos import compared, deaths, losses
from chaos.judge import Line, judged
from chaos.row import running
from chaos.watch import Watch

NODES, PER_NODE_W = ("a", "b", "c", "d", "e"), 6800.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="faults whose name matches")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    lines: list[Line | compared.Line] = [*_deaths(args.only), *_losses(args.only)]
    if args.json:
        args.json.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    return 1 if any(line.wrong for line in lines) else 0


def _deaths(only: re.Pattern[str]) -> list[Line]:
    chosen: Mapping[str, Callable[..., None]] = {name: fault for name, fault in deaths.FAULTS.items() if only.search(name)}
    if not chosen:
        return []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), NODES, PER_NODE_W) as row:
        print(_head())
        watch, lines = Watch(row), []
        for name, fault in chosen.items():
            lines.append(judged(row, watch, name, fault))
            print(_shown(lines[-1]), flush=True)
        watch.close()
    return lines


def _head() -> str:
    return (
        f"{'DEATH AND DELAY':<44}{'uncovered':>10}{'stale obeyed':>13}{'over budget':>12}{'highest sum':>12}{'at the floor':>13}"
        f"{'ledger lines':>13}{'back after':>11}{'unseen':>8}"
    )


def _shown(line: Line) -> str:
    floor = "never" if line.floor_after_s is None else f"{line.floor_after_s:.1f} s"
    return (
        f"{line.fault:<44}{line.uncovered_s:>8.2f} s{line.stale_obeyed:>13}{line.over_budget_s:>10.2f} s{line.highest_sum:>12.1%}{floor:>13}"
        f"{line.ledger_lines:>13}{line.back_after_s:>9.1f} s{line.largest_gap_s:>6.2f} s"
        f"  {'; '.join([*(line.wrong or ['held']), *line.remarks])}"
    )


def _losses(only: re.Pattern[str]) -> list[compared.Line]:
    with tempfile.TemporaryDirectory() as folder:
        lines = losses.measured(Path(folder), only)
    if lines:
        print(
            f"{'LOSS':<44}{'readings':>10}{'not consumed':>14}{'not recorded':>14}{'in hand':>9}{'new XIDs':>10}{'not told':>10}{'twice':>7}"
            f"{'ledger lines':>14}"
        )
    for line in lines:
        print(
            f"{line.fault:<44}{line.read:>10}{line.not_consumed:>14}{line.not_recorded:>14}{line.in_hand:>9}{line.xids:>10}{line.not_told:>10}"
            f"{line.told_twice:>7}{line.ledger_lines:>14}  {'; '.join([*(line.wrong or ['held']), *line.remarks])}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
