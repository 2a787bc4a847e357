"""A real Slurm from Debian: munged, slurmctld and a slurmd for each node, all on this machine, as whoever runs the tests.

Everything is on free loopback ports with its files in a folder of the caller's. Inside a step SLURMD_NODENAME tells the nodes apart.
"""

import getpass
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.port import NotStarted, free_port

START_S = 30.0
LOOK_S = 0.03
NODES = ("n1", "n2", "n3", "n4")
CPUS = 8  # of each node, whatever this machine has: nothing is bound to them


@dataclass(slots=True)
class Slurm:
    """One that is up. `env` is what its tools need, `daemons` are slurmctld and the nodes' slurmd by name."""

    folder: Path
    env: Mapping[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    patience_s: float = START_S

    def tool(self, *command: str) -> str:
        """What one of its tools says; CalledProcessError if it fails."""
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True, timeout=20.0).stdout.strip()

    def submit(self, script: str, *options: str) -> str:
        """The id of a batch job of these lines of shell. What it says is in `job-ID.out` of the folder, also of an earlier start."""
        done = subprocess.run(
            ["sbatch", "--parsable", "--open-mode=append", f"--output={self.folder}/job-%j.out", *options],
            input=f"#!/bin/sh\n{script}\n", env=self.env, cwd=self.folder, check=True, capture_output=True, text=True, timeout=20.0,
        )  # fmt: skip
        return done.stdout.strip()

    def end_everything(self) -> None:
        """No job is left, and every node takes work, as at first."""
        if jobs := self.tool("squeue", "--noheader", "--format=%A").split():
            for options in (["--signal=KILL", "--full"], []):
                # It fails for those that end already.
                subprocess.run(["scancel", *options, *jobs], env=self.env, check=False, capture_output=True, timeout=20.0)
        self.wait_until(lambda: not self.tool("squeue", "--noheader"))
        for line in self.tool("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines():
            node, state = line.split()
            if state.startswith(("drain", "down")):
                self.tool("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.wait_until(self.idle)

    def idle(self) -> bool:
        """All its nodes wait for work."""
        done = subprocess.run(["sinfo", "--noheader", "--format=%T %D"], env=self.env, check=False, capture_output=True, text=True)
        return done.stdout.strip() == f"idle {len(NODES)}"

    def wait_until(self, true: Callable[[], bool], timeout_s: float | None = None) -> None:
        """NotStarted, with the end of the controller's log, if it does not become true in time, `patience_s` if nothing else is said."""
        timeout_s = self.patience_s if timeout_s is None else timeout_s
        end_s = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > end_s or any(daemon.poll() is not None for daemon in self.daemons.values()):
                raise NotStarted(f"not within {timeout_s} s; slurmctld's log ends with\n{self.log_end()}")
            time.sleep(LOOK_S)

    def log_end(self) -> str:
        return self.log_whole()[-4000:]

    def log_whole(self) -> str:
        """The controller's, since `forget_log`."""
        return (self.folder / "slurmctld.out").read_text(errors="replace").replace("\0", "")

    def forget_log(self) -> None:
        os.truncate(self.folder / "slurmctld.out", 0)

    def start(self, name: str, *command: str) -> None:
        """In a session of its own: slurmd signals the group that it is in."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(command, env=self.env, stdout=out, stderr=out, start_new_session=True)


@contextmanager
def running(folder: Path, credential_s: int = 120, tracking: str = "pgid") -> Iterator[Slurm]:
    """Four idle nodes n1 to n4 in one partition. Jobs that still run at the end are ended. Slurm holds a requeued job back for as long as its credential may be valid.

    `tracking` by pgid does not end what is in a session of its own, as torchrun's workers are, by linuxproc it does.
    """
    (folder / "slurm.conf").write_text(_conf(folder, credential_s, tracking))
    for node in NODES:
        (folder / "spool" / node).mkdir(parents=True)
    (folder / "state").mkdir()
    env = {**{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, "SLURM_CONF": str(folder / "slurm.conf")}
    env["PATH"] = f"{env.get('PATH', '')}:/usr/sbin"
    made = Slurm(folder, env)
    try:
        _start(made)
        made.wait_until(made.idle)
        yield made
        made.end_everything()
    finally:
        for daemon in reversed(made.daemons.values()):
            daemon.kill()
            daemon.wait()


def _start(made: Slurm) -> None:
    key, sock = made.folder / "munge.key", made.folder / "munge.sock"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = [f"--{name}={made.folder}/munge.{suffix}" for name, suffix in (("pid-file", "pid"), ("seed-file", "seed"))]
    made.start("munged", "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={sock}", *files)
    made.wait_until(sock.exists)
    made.start("slurmctld", "slurmctld", "-D", "-c")
    for node in NODES:
        made.start(node, "slurmd", "-D", "-N", node)


def _conf(folder: Path, credential_s: int, tracking: str) -> str:
    user = getpass.getuser()
    nodes = "".join(
        f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={free_port()} CPUs={CPUS} RealMemory=4000\n" for node in NODES
    )
    return f"""ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={free_port()}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.sock,cred_expire={credential_s}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/{tracking}
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MailProg=/bin/true
KillWait=1
MessageTimeout=5
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
{nodes}PartitionName=all Nodes={",".join(NODES)} Default=YES State=UP
"""
