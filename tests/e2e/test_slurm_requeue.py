"""A real training job (torchrun, two nodes, gloo) under a real Slurm: a node is drained, the job is requeued and goes on elsewhere from its checkpoint.

    pytest -s tests/e2e/test_slurm_requeue.py    # prints the seconds of each stage

Slurm holds a requeued job back for two minutes, for as long as its credential may be valid; here an operator lifts that with StartTime=now.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from services.port import free_port
from services.slurm import NODES
from services.slurm import Slurm as Cluster

from gpuwarden.controller.checkpoints.newest import newest
from gpuwarden.controller.schedulers.scheduler import Availability, Phase
from gpuwarden.controller.schedulers.slurm import Slurm

TRAINING = Path(__file__).parents[1] / "fakes" / "requeued_training.py"
REASON = "gpuwarden: q1 GPU 3 fell off the bus"
PROGRESS_S = 120.0


def script(folder: Path) -> str:
    """What a user would submit, but for ports of one machine's own."""
    torchrun = (
        f"{sys.executable} -m torch.distributed.run --nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d"
        f" --rdzv-endpoint=127.0.0.1:$((SLURM_RESTART_COUNT ? {free_port()} : {free_port()})) --rdzv-id=$SLURM_JOB_ID {TRAINING} {folder}"
    )
    return f"export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=\nexec srun --ntasks-per-node=1 {torchrun}"


def losses(folder: Path) -> list[dict[str, Any]]:
    file = folder / "losses"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.timeout(300)
def test_a_job_goes_on_elsewhere_from_its_newest_checkpoint(
    slurm_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_cluster.end_everything()
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm_cluster.env[name])
    slurm, stages, began_s = Slurm(NODES), dict[str, float](), time.monotonic()

    def done(stage: str) -> None:
        nonlocal began_s
        stages[stage], began_s = time.monotonic() - began_s, time.monotonic()

    job = slurm_cluster.submit(script(tmp_path), "--requeue", "--nodes=2")
    slurm_cluster.wait_until(lambda: any(line["step"] >= 12 for line in losses(tmp_path)), PROGRESS_S)
    done("start, and twelve steps")

    seen = slurm.truth().jobs[job]
    bad = seen.nodes[-1]
    slurm.drain(bad, REASON)
    done("drain")
    slurm.requeue(job, seen.restarts)
    slurm.exclude(job, [bad])
    done("requeue and exclude")
    slurm_cluster.wait_until(lambda: slurm.truth().jobs[job].phase is Phase.PENDING)
    assert slurm.truth().nodes[bad].availability is Availability.DRAINED
    done("until nothing of it is left")

    before, from_here = losses(tmp_path), newest(tmp_path / "checkpoints")
    slurm_cluster.tool("scontrol", "update", f"JobId={job}", "StartTime=now")
    slurm_cluster.wait_until(lambda: slurm.truth().jobs[job].phase is Phase.RUNNING)
    nodes = slurm.truth().jobs[job].nodes
    done("until it starts, its hold lifted")
    slurm_cluster.wait_until(lambda: any(line["restarts"] == 1 and line["step"] > before[-1]["step"] for line in losses(tmp_path)), PROGRESS_S)
    done("until it is where it was")
    slurm_cluster.tool("scancel", job)

    again = [line for line in losses(tmp_path) if line["restarts"] == 1]
    assert bad not in nodes and len(nodes) == 2 and again[0]["node"] in nodes
    assert from_here.step is not None and from_here.step >= 10 and again[0]["step"] == from_here.step + 1
    first_time = {line["step"]: line["loss"] for line in before}
    twice = [line for line in again if line["step"] in first_time]
    assert [line["loss"] for line in twice] == pytest.approx([first_time[line["step"]] for line in twice], rel=1e-4)
    assert again[0]["loss"] < before[0]["loss"] / 4  # it is what was trained, and not a beginning
    for stage, took_s in stages.items():
        print(f"{took_s:6.1f} s  {stage}")
    lost = before[-1]["step"] - from_here.step
    print(f"{lost} steps were done twice, from {from_here.path.name} on; loss {before[0]['loss']:.1f}, {before[-1]['loss']:.1f}, {again[-1]['loss']:.1f}")
