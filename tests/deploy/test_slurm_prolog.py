"""The Slurm prologs as Slurm runs them: the folder for a job's logs, its tasks' environment, and nothing left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from house import ROOT

SCRIPTS = ROOT / "deploy" / "slurm"


def run(script: str, tmp_path: Path, **more: str) -> str:
    command = tmp_path / "gpuwarden"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gpuwarden.cli "$@"\n')
    command.chmod(0o755)
    slurm = {"SLURM_JOB_ID": "4711", "SLURM_JOB_UID": str(os.getuid()), "GPUWARDEN_INSPECTOR_DIR": str(tmp_path / "logs"), "GPUWARDEN": str(command)}
    ran = subprocess.run(
        [str(SCRIPTS / script)], env={"PATH": os.environ["PATH"], "GPUWARDEN_AGENT_TOML": str(tmp_path / "agent.toml"), **slurm, **more},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return ran.stdout


def test_a_job_has_its_folder_while_it_runs(tmp_path: Path) -> None:
    run("prolog.sh", tmp_path)
    run("prolog.sh", tmp_path)  # a requeued job's
    job = tmp_path / "logs" / "4711"
    assert job.is_dir() and job.stat().st_mode & 0o777 == 0o755
    (job / "gpu01-pid1.log").write_text("x")
    (tmp_path / "logs" / "4712").mkdir()
    run("epilog.sh", tmp_path)
    assert [folder.name for folder in (tmp_path / "logs").iterdir()] == ["4712"]


@pytest.mark.parametrize("job", ["", "..", "4711/..", "*"])
def test_what_is_no_job_removes_nothing(tmp_path: Path, job: str) -> None:
    (tmp_path / "logs" / "4712").mkdir(parents=True)
    for script in ("prolog.sh", "epilog.sh"):
        run(script, tmp_path, SLURM_JOB_ID=job)
    assert (tmp_path / "logs" / "4712").is_dir()


def test_tasks_get_all_that_the_agent_asks_for_and_what_a_job_has_set_stays(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(
        'collectors = ["ranks", "inspector", "ras"]\nrank_socket = "/run/gpuwarden-agent/ranks.sock"\n'
        'inspector_dir = "/var/spool/gpuwarden-inspector"\ninspector_plugin = "/opt/nccl/libnccl-profiler-inspector.so"\n[ras]\n'
    )
    told = run("task-prolog.sh", tmp_path, TORCH_FR_BUFFER_SIZE="4000", NCCL_INSPECTOR_ENABLE="0").splitlines()
    assert all(line.startswith("export ") and "'" not in line for line in told)
    given = dict(line.removeprefix("export ").split("=", 1) for line in told)
    assert Path(given.pop("PYTHONPATH")).joinpath("sitecustomize.py").is_file()
    assert given == {
        "GPUWARDEN_RANK_SOCKET": "/run/gpuwarden-agent/ranks.sock", "TORCH_NCCL_ENABLE_MONITORING": "1", "TORCH_FR_DUMP_ON_TIMEOUT": "1",
        "NCCL_PROFILER_PLUGIN": "/opt/nccl/libnccl-profiler-inspector.so", "NCCL_INSPECTOR_DUMP_THREAD_INTERVAL_MICROSECONDS": "1000000",
        "NCCL_INSPECTOR_DUMP_DIR": "/var/spool/gpuwarden-inspector/4711", "NCCL_RAS_ENABLE": "1", "NCCL_RAS_ADDR": "127.0.0.1:28028",
    }  # fmt: skip


def test_a_node_without_an_agent_runs_jobs(tmp_path: Path) -> None:
    assert run("task-prolog.sh", tmp_path) == ""
