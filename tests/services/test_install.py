"""The installer of what tests need: quick when all is there, and plain about what to type where it may not install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from services import influx

INSTALL = Path(__file__).with_name("install.py")


def install(*names: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, INSTALL, *names], env={"PATH": path}, check=False, capture_output=True, text=True, timeout=30.0
    )  # fmt: skip


def test_what_cannot_be_installed_is_said_in_one_line_to_type() -> None:
    done = install("java", "maven", path="/nonexistent")
    assert done.returncode == 1
    assert "  sudo apt-get update && sudo apt-get install -y default-jre-headless maven\n" in done.stderr


def test_what_is_there_is_left_alone_in_silence() -> None:
    done = install("venv", path="/nonexistent")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_name_that_is_not_known_is_refused() -> None:
    done = install("jav", path="/nonexistent")
    assert done.returncode == 2
    assert "jav: not known; known are venv, gcc, java" in done.stderr


def test_a_machine_that_cannot_build_influxdb_is_told_by_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert influx.lacking() == (
        "InfluxDB is built with go 1.23 or newer, which is not on the PATH; "
        "InfluxDB is built with cargo 1.72 or newer, which is not on the PATH"
    )
    for program, said in (("go", "go version go1.19.8 linux/amd64"), ("cargo", "cargo 1.95.0 (f2d3ce0bd 2026-03-21)")):
        (tmp_path / program).write_text(f"#!/bin/sh\necho '{said}'\n")
        (tmp_path / program).chmod(0o755)
    assert influx.lacking() == "InfluxDB is built with go 1.23 or newer, and this is go version go1.19.8 linux/amd64"
    (tmp_path / "go").write_text("#!/bin/sh\necho go version go1.26.8 linux/amd64\n")
    assert influx.lacking() == ""


@pytest.mark.parametrize(("fixture", "server"), [("influx_program", "InfluxDB is built with go 1.23"), ("kube_server", "the Kubernetes API server is built with go 1.25")])
@pytest.mark.parametrize(("ci", "outcome"), [("true", "errors=1"), ("", "skipped=1")])
def test_without_its_tools_tests_of_a_built_server_are_skipped_but_in_continuous_integration(
    tmp_path: Path, ci: str, outcome: str, fixture: str, server: str
) -> None:
    """Run as a suite of its own, with this one's fixtures."""
    (tmp_path / "test_it.py").write_text(f"def test_it({fixture}: None) -> None:\n    pass\n")
    (tmp_path / "conftest.py").write_text((INSTALL.parents[1] / "conftest.py").read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-c", os.devnull, tmp_path]
    environ = {"PATH": "/nonexistent", "PYTHONPATH": str(INSTALL.parents[1]), "CI": ci}
    done = subprocess.run([*command, f"--junitxml={tmp_path / 'told'}"], env=environ, check=False, capture_output=True, text=True, timeout=60.0)
    told = (tmp_path / "told").read_text()
    name, count = outcome.split("=")
    assert f'{name}="{count}"' in told, done.stdout + done.stderr
    assert f"{server} or newer, which is not on the PATH" in told
