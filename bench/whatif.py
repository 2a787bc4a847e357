"""Is `gpuwarden whatif` right? It is asked about a recording of the calibrated row, and the row itself, with servers added, tells.

    python bench/whatif.py [--days 4] [--json FILE]

The recording is what each of the 40 servers draws, every 2 s, with nobody to hold them back. The row itself is simulated request by
request, with the same ladder and the same delays, once for each number of servers added; beside each what the recording foretold.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from power_row_cases import trace

from gpuwarden.cli.whatif_text import table
from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.sim.serving.frozen import Frozen, frozen, requests_of
from gpuwarden.sim.serving.outcome import Judged, outcome
from gpuwarden.sim.serving.requests import DAY_S
from gpuwarden.sim.serving.row import Delays, RowSetup, run
from gpuwarden.sim.serving.servers import Servers
from gpuwarden.sim.serving.study import FILLING_S, HIGH
from gpuwarden.sim.whatif.held import Control
from gpuwarden.sim.whatif.question import Answer, Question, Service, answered
from gpuwarden.sim.whatif.recorded import Recorded

DELAYS = Delays()
ADDED = (0, 4, 8, 10, 12, 14, 16, 20)


@dataclass(frozen=True, slots=True)
class Truth:
    """What `added` servers led to in the row itself."""

    added: int
    peak: float
    brakes: int
    over_s: float
    high_p50: float
    high_p99: float
    low_p50: float
    low_p99: float

    def keeps(self, service: Service) -> bool:
        return self.brakes <= service.brakes and all(
            getattr(self, name) <= getattr(service, name) for name in ("high_p50", "high_p99", "low_p50", "low_p99")
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    row, results = frozen(), {}
    recorded = _recorded(row, args.days)
    for preset in ("none", "polca"):
        began_s = time.monotonic()
        answer = _asked(recorded, row, preset)
        asked_s = time.monotonic() - began_s
        truths = [_truth(row, added, args.days, preset) for added in ADDED]
        _print(preset, answer, asked_s, truths)
        results[preset] = {"answer": asdict(answer), "asked_s": round(asked_s, 1), "truth": [asdict(one) for one in truths]}
    if args.json:
        args.json.write_text(json.dumps(results) + "\n")
    return 0


def _setup(row: Frozen, servers: int, preset: str, brake: bool) -> RowSetup:
    return RowSetup(servers, row.servers, LADDERS[preset], brake=brake, delays=DELAYS)


def _recorded(row: Frozen, days: float) -> Recorded:
    setup = _setup(row, row.servers, "none", brake=False)
    servers = Servers(setup.server, setup.high, requests_of(row, row.servers, days, row.seed, trace(), 0.5), HIGH, setup.relation)
    seen = []
    for reading in range(round(days * DAY_S / DELAYS.telemetry_s)):
        servers.advance((reading + 1) * DELAYS.telemetry_s)
        servers.step_s.clear()
        servers.step_w.clear()
        seen.append(servers.watts.astype(np.float32))
    filled = round(FILLING_S / DELAYS.telemetry_s)
    return Recorded(tuple(f"s{number}" for number in range(row.servers)), DELAYS.telemetry_s, np.ascontiguousarray(np.array(seen[filled:]).T))


def _asked(recorded: Recorded, row: Frozen, preset: str) -> Answer:
    setup = _setup(row, row.servers, preset, brake=True)
    control = Control(setup.budget_w, LADDERS[preset], DELAYS.lock_s, DELAYS.brake_s, prompt_ratio=0.25)
    node = NodeClass("server", (), base_w=1650.0, floor_w=100.0, default_w=400.0)  # an HGX A100
    return answered(Question(recorded, control, Service(), node, 0.5, 100, 1), lambda share: None)


def _truth(row: Frozen, added: int, days: float, preset: str) -> Truth:
    servers, duration_s = row.servers + added, days * DAY_S
    asked = requests_of(row, servers, days, row.seed, trace(), 0.5)
    capped_setup = _setup(row, servers, preset, brake=True)
    free = run(_setup(row, servers, "none", brake=False), asked, HIGH, duration_s)
    capped = run(capped_setup, asked, HIGH, duration_s)
    told = outcome(capped, free, capped_setup, asked, HIGH, Judged(FILLING_S, duration_s))
    stretches = {f"{name}_{q}": told["latency"][name][f"{q}_ratio"] - 1.0 for name in ("high", "low") for q in ("p50", "p99")}
    return Truth(added, told["peak_fraction"], told["brakes"], told["over_rating_s"], **stretches)


def _print(preset: str, answer: Answer, asked_s: float, truths: list[Truth]) -> None:
    kept = [one.added for one in truths if one.keeps(Service())]
    print(f"\n{preset}: foretold {answer.fit[0]} (median {answer.fit[1]}, up to {answer.fit[2]}) in {asked_s:.1f} s; "
          f"in the row itself bounds are kept with {', '.join(map(str, kept)) or 'none'} of {', '.join(str(one.added) for one in truths)} added")
    print("\n".join(table(answer, Service())))
    print("the row itself:")
    for one in truths:
        print(f"{one.added:>5} {'yes' if one.keeps(Service()) else 'no':>10} {100 * one.peak:>5.1f} % {one.brakes:>7} {one.over_s:>5.0f} s "
              f"{100 * one.high_p50:>+7.1f} % {100 * one.high_p99:>+5.1f} % {100 * one.low_p50:>+6.1f} % {100 * one.low_p99:>+5.1f} %", flush=True)


if __name__ == "__main__":
    sys.exit(main())
