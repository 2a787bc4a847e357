"""Whose job a process is: from its environment, its cgroup, or a map that the operator keeps.

Slurm names the job in both (`.../job_1234/step_0/...`, SLURM_JOB_ID), Kubernetes the pod in the cgroup
(`.../kubepods-besteffort-pod<uid>.slice/...`), torchrun the run in the environment (TORCHELASTIC_RUN_ID). Without privileges an
agent reads the environment of its own user's processes only; of all others it knows the cgroup and the owner.
"""

import os
import pwd
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpuwarden.core.config import ConfigError

KEPT: Final = 4096
UNNAMED: Final = ("", "none")  # torchrun's run id, where none is given
CLASS_VARIABLE: Final = "GPUWARDEN_JOB_CLASS"
_SLURM: Final = re.compile(r"/job_(\d+)(?:/|$)")
_POD: Final = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")
_JOB_VARIABLES: Final = ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
_USER_VARIABLE: Final = "SLURM_JOB_USER"


@dataclass(frozen=True, slots=True)
class Job:
    """'' where unknown."""

    id: str = ""
    user: str = ""
    job_class: str = ""


class Jobs:
    """Remembers what it found of a process until another process has its number."""

    def __init__(self, proc: Path, job_map: Path | None = None) -> None:
        """`job_map` is TOML: `[jobs.<user>]` tables with `id` and `class`, for processes that say nothing themselves."""
        self._proc = proc
        self._map = _read_map(job_map) if job_map is not None else {}
        self._known: dict[tuple[int, str], Job] = {}

    def of(self, pid: int) -> Job:
        """Of a process that has gone or may not be read: what is left to know."""
        started = _started(self._text(pid, "stat"))
        if (pid, started) not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[pid, started] = self._look(pid)
        return self._known[pid, started]

    def _look(self, pid: int) -> Job:
        said = dict(pair.split("=", 1) for pair in self._text(pid, "environ").split("\0") if "=" in pair)
        user = said.get(_USER_VARIABLE) or self._owner(pid)
        mapped = self._map.get(user, Job())
        named = next((said[name] for name in _JOB_VARIABLES if said.get(name)), "")
        job_id = _of_cgroup(self._text(pid, "cgroup")) or named or mapped.id
        return Job(job_id, user, said.get(CLASS_VARIABLE, "") or mapped.job_class)

    def _owner(self, pid: int) -> str:
        try:
            number = os.stat(f"{self._proc}/{pid}").st_uid
        except OSError:
            return ""
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return str(number)

    def _text(self, pid: int, name: str) -> str:
        try:
            with open(f"{self._proc}/{pid}/{name}", encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""


def _of_cgroup(cgroup: str) -> str:
    if found := _SLURM.search(cgroup):
        return found[1]
    if found := _POD.search(cgroup):
        return "pod-" + found[1].replace("_", "-")
    return ""


def _started(stat: str) -> str:
    """Field 22 of /proc/PID/stat; the name in field 2 may hold spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _read_map(path: Path) -> dict[str, Job]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("jobs", {})
    except OSError as why:
        raise ConfigError(f"job_map {path}: {why.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as why:
        raise ConfigError(f"job_map {path}: is not TOML: {why}") from None
    return {user: _mapped(path, user, table) for user, table in tables.items()}


def _mapped(path: Path, user: str, table: object) -> Job:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise ConfigError(f"job_map {path}: jobs.{user}: should be a table of text")
    if unknown := table.keys() - {"id", "class"}:
        raise ConfigError(f"job_map {path}: jobs.{user}.{min(unknown)}: unknown key; known are id, class")
    return Job(table.get("id", ""), user, table.get("class", ""))
