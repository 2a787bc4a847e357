"""Node samples a second and core through decode, rules, minutes, scoring and publishing, where every node has a model of its own.

    python bench/score.py [--nodes 10000] [--minutes 8] [--readings 60] [--device cpu|cuda] [--json FILE]

Telemetry comes once a second and is scored once a minute: so samples are timed by themselves, the scoring of a minute by itself, and "a sample" below is
one of the first kind and a sixtieth of the second. Of each minute that is timed `--readings` are sent: with fewer than the sixty that a node sends, what the models of devices do once a
minute counts for more than it is; of the minutes before, two. The vector is that of bench/ingest.py, but everything in it that is neither a
state nor an error varies, so that as few matrices as can be are small. FITTED nodes are truly fitted, on two days; the other nodes have copies of
theirs, each in memory of its own. One node in a thousand fails in the last minute, and its finding is published.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from score_rows import Rows, history
from sklearn.decomposition import PCA

from gpuwarden.core.bus import Producer
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.core.service import spare_garbage_collection
from gpuwarden.detector.events import Action, Chosen, Polled, PublishFinding, Raw, Tick
from gpuwarden.detector.health.fit import Fitted, fitted, stacked
from gpuwarden.detector.health.judge import Judge
from gpuwarden.detector.health.learned import Learned
from gpuwarden.detector.inlet import POLL_RECORDS
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.detector.past.piece import MINUTE_NS
from gpuwarden.proto import topics
from gpuwarden.proto.decode import decode_all

TARGET_PER_S: Final = 10_000
FITTED: Final = 8
WARM: Final = 6  # minutes
WARM_READINGS: Final = 2  # counters need them
BUDGET: Final = 0.1
ONE_BY_ONE: Final = 200  # nodes that the comparisons take
FIRST: Final = 28_333_440


@dataclass(slots=True)
class Timed:
    """CPU seconds of this process by what was done, and what came of it."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    scored_minutes: int = 0
    found: list[str] = field(default_factory=list)  # keys of findings

    def begin(self) -> None:
        """Anew."""
        self.cpu_s.clear()
        self.found.clear()
        self.samples = self.scored_minutes = 0

    def over(self, name: str, do: Callable[[], Any]) -> Any:
        before_s = time.process_time()
        made = do()
        self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - before_s
        return made


def learned_of(rows: Rows) -> tuple[Learned, float]:
    """Models of all nodes, and the seconds that one takes to fit."""
    past = history(FITTED)
    began_s = time.process_time()
    few = stacked([one for node in range(FITTED) if isinstance(one := fitted(past, BUDGET, node), Fitted)])
    fit_s = (time.process_time() - began_s) / FITTED
    which = np.arange(len(rows.names)) % FITTED
    copies = {name: getattr(few, name)[which] for name in ("mean", "deviation", "covariance", "weights", "spread", "threshold")}
    return replace(few, nodes=tuple(rows.names), cards=tuple(rows.cards), **copies), fit_s


def lived(rows: Rows, model: Learned, minutes: int, readings: int) -> Timed:
    """Every pass through a decoder alone, and a detector. The first minutes only warm up, and are not timed."""
    timed, bus = Timed(), MemoryBus().producer()
    detector = Detector(DetectorSetup(), {"m": model})
    detector.step(0.0, Chosen("m", None, FIRST * MINUTE_NS))
    gather = detector.health.take
    detector.health.take = lambda samples: timed.over("minutes", lambda: [*gather(samples)])  # type: ignore[method-assign]  # to time it
    for minute in range(minutes + 1):
        if minute == WARM:
            timed.begin()
        rows.ill = minute == minutes - 1
        sent = readings if minute >= WARM else WARM_READINGS
        for reading in range(sent if minute < minutes else 1):
            unix_ns = FIRST * MINUTE_NS + int((minute + (reading + 0.5) / sent) * MINUTE_NS)
            for polled in _polls(rows, unix_ns, 60 / sent):
                timed.samples += len(polled.records)
                timed.over("decode", lambda polled=polled: decode_all(raw.payload for raw in polled.records))
                _publish(timed, bus, timed.over("judge", lambda polled=polled: detector.step(0.0, polled)))
            if not reading:  # the minute before is over
                tick = Tick((FIRST + minute) * MINUTE_NS + 25 * 10**9)
                _publish(timed, bus, timed.over("score", lambda tick=tick: detector.step(0.0, tick)))
                timed.scored_minutes += 1
    state = detector.health.nodes_by_state(len(rows.names))
    assert state["judged"] == len(rows.names), state
    assert {f"{name}/" for name in rows.names[::1000]} <= set(timed.found), "a node that failed was not found"
    return timed


def _polls(rows: Rows, unix_ns: int, passed_s: float) -> Iterator[Polled]:
    raws = [Raw(0, 0, name, payload) for name, payload in zip(rows.names, rows.payloads(unix_ns, passed_s), strict=True)]
    for first in range(0, len(raws), POLL_RECORDS):
        yield Polled(tuple(raws[first : first + POLL_RECORDS]))


def _publish(timed: Timed, bus: Producer, actions: Sequence[Action]) -> None:
    for action in actions:
        if isinstance(action, PublishFinding):
            timed.over("publish", lambda action=action: bus.send(topics.FINDINGS, action.key, action.payload))
            timed.found.append(action.key)


def one_by_one(model: Learned) -> dict[str, float]:
    """Seconds that a minute of a node takes where each has a model object of its own: the same weights in torch, and PCA of scikit-learn."""
    chance = np.random.default_rng(2)
    width, nodes = model.weights.shape[1], min(ONE_BY_ONE, len(model.nodes))
    seen = chance.standard_normal((nodes, 1, width)).astype(np.float32)
    layers = [torch.from_numpy(weights) for weights in model.weights[:nodes]]
    learner = PCA(0.9).fit(chance.standard_normal((2 * width, width)))
    took_s = {}
    with torch.inference_mode():
        took_s["torch"] = _seconds(lambda i: ((torch.from_numpy(seen[i]) @ layers[i]) ** 2).mean().item(), nodes)
    took_s["scikit-learn PCA"] = _seconds(lambda i: float(((learner.inverse_transform(learner.transform(seen[i])) - seen[i]) ** 2).mean()), nodes)
    judge, rows = Judge(model), np.arange(len(model.nodes))
    values = np.repeat(model.mean[:, None], 3, 1)
    took_s["all at once"] = _seconds(lambda _: judge.minute(rows, values[:, 0], values[:, 1:]), 2) / len(model.nodes)
    return took_s


def _seconds(do: Callable[[int], object], times: int) -> float:
    do(0)
    began_s = time.process_time()
    for i in range(times):
        do(i)
    return (time.process_time() - began_s) / times


def on_device(model: Learned, device: str) -> float:
    """Seconds that the weighing of one minute of a node takes there, all nodes at once, the transfer of what was seen included."""
    weights = torch.from_numpy(model.weights).to(device)
    seen = np.random.default_rng(3).standard_normal((len(weights), 1, weights.shape[1])).astype(np.float32)

    def weigh(_: int) -> None:
        torch.bmm(torch.from_numpy(seen).to(device), weights).cpu()

    weigh(0)
    began_s = time.perf_counter()
    for i in range(10):
        weigh(i)
    return (time.perf_counter() - began_s) / 10 / len(weights)


def measured(args: argparse.Namespace) -> dict[str, Any]:
    rows = Rows(args.nodes)
    model, fit_s = learned_of(rows)
    timed = lived(rows, model, args.minutes, args.readings)
    each = {name: cpu_s / timed.samples for name, cpu_s in timed.cpu_s.items()}
    score_s = timed.cpu_s["score"] / (timed.scored_minutes * args.nodes)
    stages = {
        "decode": each["decode"], "rules, models of devices": each["judge"] - each["decode"] - each["minutes"], "minutes": each["minutes"],
        "score": score_s / 60,
        "publish": each.get("publish", 0.0),
    }  # fmt: skip
    found = {
        "nodes": args.nodes, "metrics": len(model.columns), "varying": len(model.varying), "samples": timed.samples, "findings": len(timed.found), "failed": len(rows.names[::1000]),
        "stage_us_per_sample": {name: 1e6 * s for name, s in stages.items()}, "samples_per_s_per_core": 1 / sum(stages.values()),
        "score_us_per_node_minute": 1e6 * score_s, "bound_by": max(stages, key=stages.__getitem__), "target_per_s": TARGET_PER_S,
        "model_bytes_per_node": model.size_bytes / args.nodes, "weights_bytes_per_node": model.weights.nbytes / args.nodes, "fit_s_per_node": fit_s,
        "us_per_node_minute": {name: 1e6 * s for name, s in one_by_one(model).items()},
    }  # fmt: skip
    if args.device != "cpu":
        found["weighing_us_per_node_minute"] = {device: 1e6 * on_device(model, device) for device in ("cpu", args.device)}
        found["device"] = torch.cuda.get_device_name()
    return found


def tell(made: dict[str, Any]) -> None:
    print(f"{made['nodes']:,} nodes, {made['metrics']} metrics of each, {made['varying']} of them vary; {made['samples']:,} samples")
    print(f"{made['failed']} nodes failed and were found, {made['findings'] - made['failed']} others were besides")
    for stage, us in made["stage_us_per_sample"].items():
        print(f"  {stage:<24} {us:6.1f} us a sample{' (once a minute, a sixtieth of it)' if stage == 'score' else ''}")
    print(f"{made['samples_per_s_per_core']:,.0f} node samples a second and core (target {TARGET_PER_S:,}), bound by {made['bound_by']}")
    weights, whole = made["weights_bytes_per_node"] / 1e3, made["model_bytes_per_node"] / 1e3
    print(f"memory: {whole:,.0f} kB a node, {weights:,.0f} kB of it weights, which every minute reads once; a fit takes {made['fit_s_per_node']:.1f} s a node")
    print(f"a minute of a node, by itself: {made['score_us_per_node_minute']:,.0f} us; of that what it weighs, and what else would:")
    for name, us in made["us_per_node_minute"].items():
        print(f"  {name:<24} {us:8.1f} us")
    for device, us in made.get("weighing_us_per_node_minute", {}).items():
        print(f"  weighing on {device:<12} {us:8.2f} us")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=10_000)
    options.add_argument("--minutes", type=int, default=WARM + 2)
    options.add_argument("--readings", type=int, default=60, help="of each timed minute that are sent")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the weighing is measured too")
    options.add_argument("--json", type=Path)
    args = options.parse_args()
    if args.nodes < FITTED or args.minutes <= WARM or args.readings < WARM_READINGS:
        options.error(f"--nodes: at least {FITTED}; --minutes: more than {WARM}; --readings: at least {WARM_READINGS}, as counters need them")
    if args.device == "cuda" and not torch.cuda.is_available():
        options.error("--device: there is no cuda here")
    torch.set_num_threads(1)
    spare_garbage_collection()  # as the daemon does
    made = measured(args)
    tell(made)
    if args.json:
        args.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return int(made["samples_per_s_per_core"] < TARGET_PER_S)


if __name__ == "__main__":
    sys.exit(main())
