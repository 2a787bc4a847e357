"""Whose job a process is, from a /proc of the test's own."""

import os
import pwd
from pathlib import Path

import pytest

from gpuwarden.agent.jobs import Job, Jobs
from gpuwarden.core.config import ConfigError

ME = pwd.getpwuid(os.getuid()).pw_name


def process(proc: Path, pid: int, cgroup: str = "0::/user.slice\n", environ: str = "", started: int = 7) -> None:
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    (folder / "stat").write_text(f"{pid} (python (x) y) S " + " ".join(["0"] * 18) + f" {started} 0 0")
    (folder / "cgroup").write_text(cgroup)
    (folder / "environ").write_text(environ)


@pytest.mark.parametrize(
    ("cgroup", "environ", "job"),
    [
        ("0::/system.slice/slurmstepd.scope/job_1234/step_0/user/task_3\n", "", Job("1234", ME)),
        ("0::/user.slice\n", "SLURM_JOB_ID=99\0SLURM_JOB_USER=bo\0USER=root\0", Job("99", "bo")),
        ("0::/user.slice\n", "TORCHELASTIC_RUN_ID=run-5\0GPUWARDEN_JOB_CLASS=low\0", Job("run-5", ME, "low")),
        (
            "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0a1b2c3d_0a1b_0a1b_0a1b_0123456789ab.slice/x\n", "",
            Job("pod-0a1b2c3d-0a1b-0a1b-0a1b-0123456789ab", ME),
        ),
        ("", "USER=eve\0", Job("", ME)),
    ],
)
def test_a_job_is_found_where_its_scheduler_puts_it(tmp_path: Path, cgroup: str, environ: str, job: Job) -> None:
    process(tmp_path, 5, cgroup, environ)
    assert Jobs(tmp_path).of(5) == job


def test_a_process_that_has_gone_is_nobodys(tmp_path: Path) -> None:
    assert Jobs(tmp_path).of(5) == Job()


def test_another_process_with_the_same_number_is_looked_at_anew(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    process(tmp_path, 5, environ="SLURM_JOB_ID=1\0")
    assert jobs.of(5).id == "1"
    process(tmp_path, 5, environ="SLURM_JOB_ID=2\0")
    assert jobs.of(5).id == "1", "the same process is not read again"
    process(tmp_path, 5, environ="SLURM_JOB_ID=2\0", started=8)
    assert jobs.of(5).id == "2"


def test_the_operators_map_stands_in_for_what_a_process_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('[jobs.ann]\nid = "nightly"\nclass = "low"\n')
    process(tmp_path, 5, environ="SLURM_JOB_USER=ann\0")
    assert Jobs(tmp_path, tmp_path / "map.toml").of(5) == Job("nightly", "ann", "low")


def test_a_process_that_may_not_be_read_is_its_owners(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(f'[jobs.{ME}]\nid = "nightly"\n')
    process(tmp_path, 5)
    (tmp_path / "5" / "environ").unlink()
    assert Jobs(tmp_path, tmp_path / "map.toml").of(5) == Job("nightly", ME)


@pytest.mark.skipif(os.getuid() != 0, reason="giving a folder to another user needs root")
def test_an_owner_without_a_name_is_a_number(tmp_path: Path) -> None:
    process(tmp_path, 5)
    os.chown(tmp_path / "5", 54321, 54321)
    assert Jobs(tmp_path).of(5) == Job("", "54321")


@pytest.mark.parametrize(
    ("text", "says"),
    [("[jobs", "is not TOML"), ("[jobs.ann]\nid = 3\n", "jobs.ann: should be"), ("[jobs.ann]\nkind = 'x'\n", "jobs.ann.kind: unknown key")],
)
def test_a_bad_map_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        Jobs(tmp_path, tmp_path / "map.toml")
