"""A training script as its author would write it: knows nothing of gpuwarden, unless FOLDER/tells is there: then it tells of its steps. `torchrun ... training.py FOLDER`.

Arithmetic is waiting, as on a GPU, so that eight ranks fit on two cores. Its faults are asked for by files in FOLDER: `slow-RANK` makes the rank take twice as long for its own part
of each step, `gil-RANK` makes it hold the interpreter's lock for GIL_S. It writes `pid-RANK` once it trains.
"""

import ctypes
import importlib
import os
import random
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

GIL_S = 45
STEP_S = 0.15
EVALUATION_EVERY, EVALUATION_S = 100, 3.0
CHECKPOINT_EVERY, CHECKPOINT_S = 130, (3.0, 9.0)


def main() -> None:
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    pairs = [dist.new_group([first, first + 1]) for first in range(0, ranks - 1, 2)]
    pair = pairs[rank // 2] if rank // 2 < len(pairs) else None
    loader, pause = random.Random(rank), random.Random(0)
    activations, gradients = torch.ones(2_000), [torch.ones(20_000) for _ in range(2)]
    tell = importlib.import_module("gpuwarden_progress").tell if rank == 0 and (folder / "tells").exists() else None
    dist.barrier()
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    for step in range(1, sys.maxsize):
        times = 2 if (folder / f"slow-{rank}").exists() else 1
        time.sleep(times * min(0.3, loader.expovariate(1 / 0.02)))  # the data loader is uneven
        time.sleep(times * STEP_S / 2)
        if pair is not None:
            dist.all_reduce(activations, group=pair)
        time.sleep(times * STEP_S / 2)
        if (folder / f"gil-{rank}").exists():
            (folder / f"gil-{rank}").unlink()
            ctypes.PyDLL(None).sleep(GIL_S)
        for work in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
            work.wait()
        if tell is not None:
            tell(step, 1.0 / step)
        if step % EVALUATION_EVERY == 0:
            time.sleep(EVALUATION_S)
        if step % CHECKPOINT_EVERY == 0:
            wait_s = pause.uniform(*CHECKPOINT_S)
            time.sleep(wait_s if rank == 0 else 0.0)  # the first one writes, all others wait
            dist.barrier()


if __name__ == "__main__":
    main()
