"""The environment that a job needs so that its ranks are heard."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpuwarden.cli.main import main
from gpuwarden.cli.torchrun import HOOK, environment

RANKS = Path("/run/ranks.sock")


def test_what_a_job_has_already_stays() -> None:
    made = environment(RANKS, {"PYTHONPATH": "/mine", "TORCH_FR_BUFFER_SIZE": "2000"})
    assert made == {"GPUWARDEN_RANK_SOCKET": "/run/ranks.sock", "PYTHONPATH": f"{HOOK}:/mine"}
    assert environment(RANKS, {}) == {"GPUWARDEN_RANK_SOCKET": "/run/ranks.sock", "PYTHONPATH": str(HOOK), "TORCH_FR_BUFFER_SIZE": "256"}
    assert (HOOK / "sitecustomize.py").is_file()


def test_torchrun_is_told_what_stands_after_the_dashes(tmp_path: Path) -> None:
    (tmp_path / "torchrun").write_text('#!/bin/sh\necho "$@"; echo "$GPUWARDEN_RANK_SOCKET"\n')
    (tmp_path / "torchrun").chmod(0o755)
    words = [sys.executable, "-m", "gpuwarden.cli", "torchrun", "--socket", "/s", "--", "--nproc-per-node=2", "train.py", "--socket", "mine"]
    ran = subprocess.run(words, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "--nproc-per-node=2 train.py --socket mine\n/s\n"


def test_agent_env_prints_it_for_a_shell_or_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('collectors = ["ranks"]\nrank_socket = "/run/a b/ranks.sock"\n')
    assert main(["agent", "env", "--config", str(file)]) == 0
    assert "export GPUWARDEN_RANK_SOCKET='/run/a b/ranks.sock'\n" in capsys.readouterr().out
    file.write_text("")
    assert main(["agent", "env", "--config", str(file)]) == 2
    assert "rank_socket: is not set" in capsys.readouterr().err
