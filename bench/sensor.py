"""What a real card's power readings are worth: what a call costs, how often and how late a value changes, how far it goes above the limit.

    python bench/sensor.py [--gpu 0] [--duration 24] [--load 'COMMAND']

It reads, and sets nothing. Signals hold the load (bf16 matrix products where torch is installed) and let it go, every STEP_S.
"""

import argparse
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

STEP_S, PAUSE_S, COMES_UP_S, ASKED = 2.137, 0.001, 60.0, 300
PRODUCTS = "import torch; a = torch.randn(8192, 8192, dtype=torch.bfloat16, device='cuda')\nwhile True: a @ a; torch.cuda.synchronize()"
Reads = dict[str, Callable[[], float]]  # W
Samples = list[tuple[float, float]]  # monotonic s, W


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--duration", type=float, default=24.0)
    parser.add_argument("--load", type=shlex.split, default=[sys.executable, "-c", PRODUCTS] if importlib.util.find_spec("torch") else ["false"])
    args = parser.parse_args()
    try:
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(args.gpu)
    except pynvml.NVMLError as why:
        return print(f"no card {args.gpu} here, so nothing is measured: {why}")
    limit_w = pynvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1e3
    print(f"{pynvml.nvmlDeviceGetName(card)}, driver {pynvml.nvmlSystemGetDriverVersion()}, limit {limit_w:.0f} W")
    reads: Reads = {
        "instant": lambda: pynvml.nvmlDeviceGetFieldValues(card, [pynvml.NVML_FI_DEV_POWER_INSTANT])[0].value.uiVal / 1e3,
        "usage": lambda: pynvml.nvmlDeviceGetPowerUsage(card) / 1e3,
    }
    reads = {name: read for name, read in reads.items() if read() > 0.0}  # an older card has no instant reading
    for name, read in reads.items():
        print(f"{name}: a call takes {1e6 * median(_took_s(read) for _ in range(ASKED)):.0f} us")
    edges, samples = _under_load(args.load, args.gpu, reads, args.duration)
    for name, of in samples.items() if edges else ():
        changes = [after[0] for before, after in pairwise(of) if before[1] != after[1]]
        late_s = [_late_s(*edge, of) for edge in pairwise(edges)]
        print(f"{name}: changes every {1e3 * median(b - a for a, b in pairwise(changes)):.0f} ms; 90 % of a step after", end=" ")
        print(f"{min(late_s):.2f} to {max(late_s):.2f} s ({len(late_s)} steps); highest {max(w for _, w in of):.0f} W at {limit_w:.0f} W")


def _took_s(read: Callable[[], float]) -> float:
    began_s = time.perf_counter()
    read()
    return time.perf_counter() - began_s


def _under_load(command: list[str], gpu: int, reads: Reads, duration_s: float) -> tuple[list[float], dict[str, Samples]]:
    """As `_sampled`, once the card draws for the load; nothing where it never does."""
    idle_w, until_s = reads["usage"](), time.monotonic() + COMES_UP_S
    load = subprocess.Popen(command, start_new_session=True, env={**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu)})
    try:
        while reads["usage"]() < 2 * idle_w and time.monotonic() < until_s and load.poll() is None:
            time.sleep(0.1)
        if load.poll() is None and time.monotonic() < until_s:
            time.sleep(STEP_S)  # an averaged reading is still on its way
            return _sampled(load.pid, reads, duration_s)
        print(f"nothing drew power for {shlex.join(command)}, so no step is measured: is there a torch for this card? Else give a --load")
        return [], {}
    finally:
        if load.poll() is None:
            os.killpg(load.pid, signal.SIGKILL)
        load.wait()


def _sampled(group: int, reads: Reads, duration_s: float) -> tuple[list[float], dict[str, Samples]]:
    """When the load was held or let go, and every reading."""
    samples: dict[str, Samples] = {name: [] for name in reads}
    edges, end_s = list[float](), time.monotonic() + duration_s
    while (now_s := time.monotonic()) < end_s:
        if not edges or now_s >= edges[-1] + STEP_S:
            os.killpg(group, signal.SIGCONT if len(edges) % 2 else signal.SIGSTOP)
            edges.append(now_s)
        for name, read in reads.items():
            samples[name].append((time.monotonic(), read()))
        time.sleep(PAUSE_S)
    return edges, samples


def _late_s(edge_s: float, next_s: float, samples: Samples) -> float:
    """From the edge to 90 % of the way to where it has settled before the next."""
    within = [(at_s, w) for at_s, w in samples if edge_s <= at_s < next_s]
    first_w, last_w = within[0][1], median(w for at_s, w in within if at_s > next_s - STEP_S / 4)
    return next(at_s - edge_s for at_s, w in within if abs(w - first_w) >= 0.9 * abs(last_w - first_w))


if __name__ == "__main__":
    main()
