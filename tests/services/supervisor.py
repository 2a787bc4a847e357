"""Plays systemd for one service of type notify, by its unit file: starts it, waits for READY, pings, restarts, stops.

What it knows: ExecStart, ExecStopPost, Restart, RestartSec, WatchdogSec, TimeoutStartSec (and EXTEND_TIMEOUT_USEC), TimeoutStopSec,
StartLimitIntervalSec, StartLimitBurst, NotifyAccess, and the sockets of a `.socket` unit of the same name. No sandbox, no users.
"""

import math
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from services.unit_file import UnitFile, read_unit

TURN_S = 0.02
# The service's own process must know its number before it starts, and find its sockets from descriptor 3 on.
_EXEC = """
import os, sys
sockets, command = [int(n) for n in sys.argv[1].split(",") if n], sys.argv[2:]
for place, descriptor in enumerate(sockets, 3):
    os.dup2(descriptor, place, inheritable=True)
if sockets:
    os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), str(len(sockets))
if "WATCHDOG_USEC" in os.environ:
    os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execvp(command[0], command)
"""


class NotReady(Exception):
    """A service did not become ready in time, or ended for good. Holds what it said and the end of its log."""


class Supervised:
    """A service that runs, and is kept running, from `__enter__` to `stop`.

    `substitutions` are made in commands and socket paths; `env` is added to this process's environment.
    """

    def __init__(
        self, unit_path: Path, substitutions: Mapping[str, str], env: Mapping[str, str], log_path: Path,
    ) -> None:
        self.unit = read_unit(unit_path, substitutions)
        self.log_path = log_path
        self.status = ""
        """The newest STATUS that the service told."""
        self.pid: int | None = None
        """Of the main process, None between its end and the next start."""
        self.restarts = 0
        self.ends: list[str] = []
        """How the main process ended each time: success, exit-code, signal, watchdog or timeout."""
        self.told: list[tuple[float, str]] = []
        """Every line of every message, with the monotonic time at which it came."""
        self._env = env
        self._ready, self._stopping, self._over = threading.Event(), threading.Event(), threading.Event()
        self._listening: list[socket.socket] = []
        self._starts: deque[float] = deque()
        self._main: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=f"supervise {unit_path.stem}", daemon=True)

    def __enter__(self) -> Self:
        self._notify, self._listening = _notify_socket(), _sockets(self.unit)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def ready(self) -> bool:
        """The main process of now has said READY."""
        return self._ready.is_set()

    def wait_ready(self, timeout_s: float) -> float:
        """Seconds that it took; NotReady if it did not become ready."""
        start_s = time.monotonic()
        while not self._ready.wait(TURN_S):
            if self._over.is_set() or time.monotonic() - start_s > timeout_s:
                raise NotReady(f"{self.unit.path.name}: {self.status!r}, ended as {self.ends}\n{self._log_end()}")
        return time.monotonic() - start_s

    def wait_until(self, true: Callable[["Supervised"], bool], timeout_s: float) -> float:
        """Seconds that it took; NotReady if it did not become true."""
        start_s = time.monotonic()
        while not true(self):
            if time.monotonic() - start_s > timeout_s:
                raise NotReady(f"{self.unit.path.name}: {self.status!r}, ended as {self.ends}\n{self._log_end()}")
            time.sleep(TURN_S)
        return time.monotonic() - start_s

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """To the main process alone, as an accident would."""
        assert self.pid is not None, "it runs"
        os.kill(self.pid, sig)

    def stop(self) -> float:
        """As `systemctl stop`: seconds until nothing of it runs any more, ExecStopPost included."""
        start_s = time.monotonic()
        self._stopping.set()
        self._thread.join()
        for one in (self._notify, *self._listening):
            one.close()
        return time.monotonic() - start_s

    def _run(self) -> None:
        while not self._stopping.is_set() and self._may_start():
            main = self._start()
            end = self._watch(main)
            self.ends.append(end)
            self.pid = None
            self._ready.clear()
            _end_session(main.pid, self._stop_s)
            self._stop_post(main, end)
            if self._stopping.is_set() or not _restarts(self.unit.text("Restart", "no"), end):
                break
            if not self._stopping.wait(self.unit.span_s("RestartSec", 0.1)):
                self.restarts += 1
        self._over.set()

    @property
    def _stop_s(self) -> float:
        return self.unit.span_s("TimeoutStopSec", 90.0)

    def _may_start(self) -> bool:
        interval_s, burst = self.unit.span_s("StartLimitIntervalSec", 10.0), int(self.unit.text("StartLimitBurst", "5"))
        now_s = time.monotonic()
        while self._starts and now_s - self._starts[0] > interval_s:
            self._starts.popleft()
        self._starts.append(now_s)
        return interval_s == 0 or len(self._starts) <= burst

    def _start(self) -> subprocess.Popen[bytes]:
        (command,) = self.unit.commands("ExecStart")
        descriptors = [one.fileno() for one in self._listening]
        numbers = ",".join(map(str, descriptors))
        with self.log_path.open("ab") as log:
            main = subprocess.Popen(
                [sys.executable, "-ISc", _EXEC, numbers, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._environment(), pass_fds=descriptors, start_new_session=True,
            )
        self.pid = main.pid
        return main

    def _environment(self) -> dict[str, str]:
        made = {**os.environ, **self._env, "NOTIFY_SOCKET": "@" + self._notify.getsockname()[1:].decode()}
        watchdog_s = self.unit.span_s("WatchdogSec", 0.0)
        if watchdog_s:
            made["WATCHDOG_USEC"] = str(round(1e6 * watchdog_s))
        return made

    def _watch(self, main: subprocess.Popen[bytes]) -> str:
        """Until the main process has ended, by itself or because it had to."""
        until_s = time.monotonic() + self.unit.span_s("TimeoutStartSec", 90.0)
        while main.poll() is None:
            for line in self._lines(main.pid):
                until_s = self._heard(line, until_s)
            if self._stopping.is_set():
                self._end(main, signal.SIGTERM)
                return "success" if main.returncode in (0, -signal.SIGTERM) else _how(main.returncode)
            if time.monotonic() > until_s:
                ready = self._ready.is_set()
                self._end(main, signal.SIGABRT if ready else signal.SIGTERM)
                return "watchdog" if ready else "timeout"
        return _how(main.returncode)

    def _heard(self, line: str, until_s: float) -> float:
        """Until when the next sign of life must have come."""
        now_s = time.monotonic()
        self.told.append((now_s, line))
        key, _, value = line.partition("=")
        if key == "STATUS":
            self.status = value
        elif key == "READY":
            self._ready.set()
        elif key == "EXTEND_TIMEOUT_USEC" and not self._ready.is_set():
            return max(until_s, now_s + int(value) / 1e6)
        if key in ("READY", "WATCHDOG") and self._ready.is_set():
            return now_s + (self.unit.span_s("WatchdogSec", 0.0) or math.inf)
        return until_s

    def _lines(self, main: int) -> Iterator[str]:
        """What has been told within TURN_S; only the main process's, unless NotifyAccess says otherwise."""
        try:
            told, extra, _, _ = self._notify.recvmsg(4096, socket.CMSG_SPACE(12))
        except TimeoutError:
            return
        sender, _, _ = struct.unpack("3i", extra[0][2][:12])
        if sender == main or self.unit.text("NotifyAccess", "main") == "all":
            yield from told.decode().splitlines()

    def _end(self, main: subprocess.Popen[bytes], sig: int) -> None:
        os.kill(main.pid, sig)
        os.kill(main.pid, signal.SIGCONT)  # as systemd does: a stopped process too gets the signal
        try:
            main.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            main.kill()
            main.wait()

    def _stop_post(self, main: subprocess.Popen[bytes], end: str) -> None:
        code = "exited" if main.returncode >= 0 else "killed"
        env = {**os.environ, **self._env, "SERVICE_RESULT": end, "EXIT_CODE": code, "EXIT_STATUS": str(abs(main.returncode))}
        for command in self.unit.commands("ExecStopPost"):
            with self.log_path.open("ab") as log:
                post = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)
            self._end_late(post)

    def _end_late(self, post: subprocess.Popen[bytes]) -> None:
        try:
            post.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            self._end(post, signal.SIGTERM)
        _end_session(post.pid, self._stop_s)

    def _log_end(self) -> str:
        return self.log_path.read_text(errors="replace")[-4000:] if self.log_path.exists() else ""


def _restarts(policy: str, end: str) -> bool:
    ends = {
        "no": (), "always": ("success", "exit-code", "signal", "watchdog", "timeout"), "on-success": ("success",),
        "on-failure": ("exit-code", "signal", "watchdog", "timeout"), "on-abnormal": ("signal", "watchdog", "timeout"),
        "on-abort": ("signal",), "on-watchdog": ("watchdog",),
    }
    return end in ends[policy]


def _how(status: int) -> str:
    clean = {0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE}
    return "success" if status in clean else "signal" if status < 0 else "exit-code"


def _notify_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    made.settimeout(TURN_S)
    made.bind(f"\0gpuwarden-notify-{secrets.token_hex(8)}")
    return made


def _sockets(unit: UnitFile) -> list[socket.socket]:
    path = unit.path.with_suffix(".socket")
    if not path.exists():
        return []
    return [_listen(Path(unit.substituted(at))) for at in read_unit(path, {}).settings["ListenStream"]]


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    made.listen()
    return made


def _end_session(leader: int, patience_s: float) -> None:
    """What the main process has left behind: its children keep its session. One that the kernel holds is left there."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        until_s = time.monotonic() + patience_s
        for pid in _session(leader):
            _signal(pid, sig)
        while _session(leader) and time.monotonic() < until_s:
            time.sleep(TURN_S)


def _session(leader: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        if fields[3] == str(leader) and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def _signal(pid: int, sig: int) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return  # it has ended meanwhile
