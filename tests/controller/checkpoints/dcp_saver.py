"""A job of some ranks (gloo, CPU) that saves its state again and again, ever more of it, until somebody ends it."""

import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed import get_rank, init_process_group


def main(folder: Path, rows: int) -> None:
    init_process_group("gloo")
    for step in (1, 2, 3):
        weights = torch.randn(rows if step == 3 else 64, 1024)
        dcp.save({f"weights.{get_rank()}": weights, "step": step}, checkpoint_id=folder / f"step-{step}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
