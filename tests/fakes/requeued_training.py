"""A training job that goes on from its newest complete checkpoint wherever it is started: `torchrun ... requeued_training.py FOLDER [RATE]`.

Each step's data follow from the step, so that a step that is done again has the same loss. A line of JSON a step goes to FOLDER/losses.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.nn.parallel import DistributedDataParallel

from gpuwarden.controller.checkpoints.checkpoint import NoCheckpoint
from gpuwarden.controller.checkpoints.newest import newest

STEP_S = 0.1
CHECKPOINT_EVERY = 5


def main(folder: Path, rate: float) -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 1)
    step = load(folder / "checkpoints", model)
    trained = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(trained.parameters(), lr=rate)
    while True:
        step += 1
        loss = one_step(trained, optimizer, step)
        if dist.get_rank() == 0:
            tell(folder, step, loss)
        if step % CHECKPOINT_EVERY == 0:
            dcp.save({"model": model.state_dict(), "step": step}, checkpoint_id=folder / "checkpoints" / f"step-{step}")


def load(folder: Path, model: torch.nn.Module) -> int:
    """The step that was done last; all ranks go on from what the first one finds."""
    found: list[Path | None] = [None]
    if dist.get_rank() == 0:
        try:
            found = [newest(folder).path]
        except NoCheckpoint as why:
            print(why, flush=True)
    dist.broadcast_object_list(found)
    if found[0] is None:
        return 0
    state = {"model": model.state_dict(), "step": 0}
    dcp.load(state, checkpoint_id=found[0])
    model.load_state_dict(state["model"])
    return int(state["step"])


def one_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> float:
    seeded = torch.Generator().manual_seed(1_000 * step + dist.get_rank())
    inputs = torch.randn(32, 64, generator=seeded)
    loss = ((model(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    time.sleep(STEP_S)
    return float(mean) / dist.get_world_size()


def tell(folder: Path, step: int, loss: float) -> None:
    told = {"restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0")), "step": step, "loss": loss, "node": os.environ["SLURMD_NODENAME"]}
    with (folder / "losses").open("a") as losses:
        losses.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.05)
