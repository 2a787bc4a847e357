"""The installer of what tests need: quick when all is there, and plain about what to type where it may not install."""

import subprocess
import sys
from pathlib import Path

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
