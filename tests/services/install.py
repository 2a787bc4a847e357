"""Puts in place what the tests talk to: `python tests/services/install.py`, or with names for only those.

Run by the system's Python before there is a virtual environment, so standard library only. Done at once when all is there.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType

sys.path[0] = str(Path(__file__).parents[1])  # `services` is to be found, and this folder's `kafka` is not kafka-python

from services import influx, kafka, kube


def _on_path(program: str) -> Callable[[], bool]:
    return lambda: shutil.which(program) is not None


def _importable(module: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(module) is not None


# What must be there, how to see that it is, and the Debian packages that bring it.
NEEDS: Mapping[str, tuple[Callable[[], bool], tuple[str, ...]]] = {
    "venv": (_importable("ensurepip"), ("python3-venv",)),
    "gcc": (lambda: shutil.which("gcc") is not None and Path("/usr/include/stdio.h").exists(), ("gcc", "libc6-dev")),
    "java": (_on_path("java"), ("default-jre-headless",)),
    "maven": (_on_path("mvn"), ("maven",)),
    "openssl": (_on_path("openssl"), ("openssl",)),
    "chromium": (_on_path("chromium"), ("chromium",)),
    "systemd-analyze": (_on_path("systemd-analyze"), ("systemd",)),
    "promtool": (_on_path("promtool"), ("prometheus",)),
    "victoria-metrics": (_on_path("victoria-metrics"), ("victoria-metrics",)),
    "slurm": (
        lambda: all(map(shutil.which, ("slurmctld", "slurmd", "scontrol", "munged"))),
        ("slurmctld", "slurmd", "slurm-client", "munge"),
    ),
    "etcd": (_on_path("etcd"), ("etcd-server",)),
    "alertmanager": (_on_path("prometheus-alertmanager"), ("prometheus-alertmanager",)),
}


def main(names: list[str]) -> int:
    """0 when everything named (all, if none is) is in place."""
    if unknown := set(names) - NEEDS.keys():
        return _say(f"{', '.join(sorted(unknown))}: not known; known are {', '.join(NEEDS)}", 2)
    missing = _missing(names or NEEDS)
    if missing and not _install(missing):
        return _say(f"Not installed. Type:\n  sudo apt-get update && sudo apt-get install -y {' '.join(missing)}", 1)
    return 0 if names else _fetch_and_build()


def _fetch_and_build() -> int:
    kafka.archive()
    return max(map(_built, (influx, kube)))


def _built(server: ModuleType) -> int:
    if not (lacking := server.lacking()):
        server.install()
        return 0
    return _say(f"{lacking}: the tests that talk to it are skipped", 1 if os.environ.get("CI") == "true" else 0)


def _missing(names: Iterable[str]) -> list[str]:
    lacking = (packages for there, packages in (NEEDS[name] for name in names) if not there())
    return [package for packages in lacking for package in packages]


def _install(packages: list[str]) -> bool:
    may = _root_prefix()
    if may is None or shutil.which("apt-get") is None:
        return False
    command = [*may, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    steps = (["update"], ["install", "-y", "--no-install-recommends", *packages])
    _say(f"$ {shlex.join([*command, *steps[1]])}", 0)
    return all(subprocess.call(command + step) == 0 for step in steps)


def _root_prefix() -> list[str] | None:
    """What to put before a command that root must run; None if we may not."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.call(["sudo", "-n", "true"], stderr=subprocess.DEVNULL) == 0:
        return ["sudo", "-n"]
    return None


def _say(text: str, code: int) -> int:
    sys.stderr.write(text + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
