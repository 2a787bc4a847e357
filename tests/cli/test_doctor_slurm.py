"""What Slurm does to cards around a job, as doctor finds it in its files."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gpuwarden.cli.checks import slurm
from gpuwarden.cli.checks.found import Found

Told = Callable[[Iterable[Found]], dict[str, str]]


def conf(machine, *lines: str) -> Path:
    folder: Path = machine.place.root / "etc/slurm"
    (folder / "prolog.d").mkdir(parents=True, exist_ok=True)
    (folder / "slurm.conf").write_text("\n".join(["ClusterName=c", *lines]) + "\n", encoding="utf-8")
    return folder


def test_without_slurm_there_is_nothing_to_say(machine, told: Told) -> None:
    assert "no slurm.conf" in told(slurm.check(machine.place))["not applicable"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("nvidia-smi -i 0 -pl 400", "sets power limits"),
        ("/usr/bin/nvidia-smi --power-limit=400", "sets power limits"),
        ("nvidia-smi -rgc", "sets or resets clocks"),
        ("nvidia-smi --lock-gpu-clocks=1000,1200", "sets or resets clocks"),
        ("nvidia-smi -pm 0", "turns persistence mode off"),
        ("nvidia-smi --persistence-mode=0", "turns persistence mode off"),
        ("nvidia-smi -i $SLURM_JOB_GPUS --gpu-reset", "resets cards"),
        ("rmmod nvidia_uvm nvidia", "unloads the driver"),
        ("dcgmi config -g 1 --set -P 300", "sets power limits"),
    ],
)
def test_a_prolog_that_undoes_a_limit_is_named_with_its_line(machine, told: Told, line: str, what: str) -> None:
    folder = conf(machine, "Prolog=/etc/slurm/prolog.d/*", "TaskProlog = /etc/slurm/task.sh # theirs", "EpilogSlurmctld=/etc/slurm/no.sh")
    script = folder / "prolog.d" / "50-gpu"
    script.write_text(f"#!/bin/sh\n# {line}\n{line}\n", encoding="utf-8")
    (folder / "no.sh").write_text(f"{line}\n", encoding="utf-8")  # runs where slurmctld does
    said = told(slurm.check(machine.place))["warning"]
    assert said.startswith(f"{script}:3 {what}") and said.endswith(f"{line} -> $EDITOR {script}")


def test_prologs_that_only_look_are_no_matter(machine, told: Told) -> None:
    folder = conf(machine, "Prolog=/etc/slurm/prolog.d", "prolog=/etc/slurm/prolog.d/look", "Epilog=/nowhere")
    (folder / "prolog.d" / "look").write_text("nvidia-smi -L\nnvidia-smi -pm 1\nnvidia-smi --query-gpu=power.limit --format=csv\n", encoding="utf-8")
    assert told(slurm.check(machine.place)) == {"ok": "none of 1 prologs and epilogs of Slurm undoes a limit -> "}


def test_clocks_that_slurm_sets_itself_are_told(machine, told: Told) -> None:
    folder = conf(machine)
    (folder / "gres.conf").write_text("# AutoDetect=nvml\nName=gpu File=/dev/nvidia[0-7]\n", encoding="utf-8")
    assert "warning" not in told(slurm.check(machine.place))
    (folder / "gres.conf").write_text("AutoDetect=nvml\n", encoding="utf-8")
    assert "--gpu-freq" in told(slurm.check(machine.place))["warning"]
    conf(machine, "GpuFreqDef=medium")
    assert "every job step sets its cards' clocks" in told(slurm.check(machine.place))["warning"]
