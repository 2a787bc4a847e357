"""The supervisor does with a unit file what systemd would do."""

import signal
import sys
import time
from pathlib import Path

import pytest
from services.supervisor import NotReady, Supervised
from services.unit_file import span_s

DAEMON = """
import os, signal, socket, sys, time
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
"""
PINGS = DAEMON + """
tell("READY=1\\nSTATUS=turns")
while True:
    tell("WATCHDOG=1")
    time.sleep(0.05)
"""


def supervised(folder: Path, script: str, settings: str) -> Supervised:
    (folder / "daemon.py").write_text(script)
    unit = folder / "test.service"
    unit.write_text(f"# a unit\n[Unit]\n{_limit(settings)}\n[Service]\nType=notify\nExecStart=/opt/it daemon.py\n{settings}\n")
    return Supervised(unit, {"/opt/it": f"{sys.executable} -S", "daemon.py": str(folder / "daemon.py"), "OUT": str(folder)}, {}, folder / "log")


def _limit(settings: str) -> str:
    return "" if "StartLimit" in settings else "StartLimitIntervalSec=0"


def test_a_killed_service_is_started_again_after_its_post_command(tmp_path: Path) -> None:
    settings = "Restart=always\nRestartSec=100ms\nExecStopPost=/bin/sh -c 'echo $SERVICE_RESULT $EXIT_STATUS >> OUT/post'"
    with supervised(tmp_path, PINGS, settings) as service:
        service.wait_ready(5.0)
        first, killed_s = service.pid, time.monotonic()
        service.kill()
        service.wait_until(lambda s: s.restarts == 1 and s.ready, 5.0)
        assert service.pid != first and time.monotonic() - killed_s >= 0.1
        assert service.status == "turns" and service.ends == ["signal"]
        assert (tmp_path / "post").read_text() == "signal 9\n"
    assert (tmp_path / "post").read_text().endswith("success 15\n") and service.ends == ["signal", "success"]


def test_one_that_no_longer_pings_is_ended_and_started_again(tmp_path: Path) -> None:
    with supervised(tmp_path, PINGS, "Restart=on-failure\nWatchdogSec=300ms\nRestartSec=0\nTimeoutStopSec=1") as service:
        service.wait_ready(5.0)
        time.sleep(0.6)
        assert service.restarts == 0, "it pings"
        service.kill(signal.SIGSTOP)
        service.wait_until(lambda s: s.restarts == 1 and s.ready, 5.0)
        assert service.ends == ["watchdog"]


def test_one_that_is_never_ready_is_ended_at_its_time_and_says_why(tmp_path: Path) -> None:
    script = DAEMON + "tell('STATUS=waits for nobody')\ntime.sleep(60)"
    with supervised(tmp_path, script, "TimeoutStartSec=1500ms") as service, pytest.raises(NotReady, match=r"waits for nobody.*timeout"):
        service.wait_ready(5.0)


def test_one_that_asks_for_more_time_gets_it(tmp_path: Path) -> None:
    script = DAEMON + "for _ in range(8): tell('EXTEND_TIMEOUT_USEC=1500000'); time.sleep(0.3)\ntell('READY=1'); time.sleep(60)"
    with supervised(tmp_path, script, "TimeoutStartSec=1500ms") as service:
        assert service.wait_ready(10.0) > 1.8


def test_a_start_limit_ends_it_for_good(tmp_path: Path) -> None:
    settings = "Restart=always\nRestartSec=0\nStartLimitIntervalSec=30\nStartLimitBurst=3"
    with supervised(tmp_path, "raise SystemExit(3)", settings) as service, pytest.raises(NotReady):
        service.wait_ready(5.0)
    assert service.ends == ["exit-code"] * 3


def test_one_that_ignores_sigterm_is_killed_after_its_time_with_all_it_started(tmp_path: Path) -> None:
    script = DAEMON + f"""
import subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "77"], process_group=0)
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
tell("READY=1")
time.sleep(60)
"""
    with supervised(tmp_path, script, "TimeoutStopSec=500ms") as service:
        service.wait_ready(5.0)
        assert 0.5 < service.stop() < 3.0
    stat = Path(f"/proc/{(tmp_path / 'child').read_text()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_only_the_main_process_is_heard(tmp_path: Path) -> None:
    script = DAEMON + "if os.fork() == 0: tell('READY=1'); os._exit(0)\ntime.sleep(60)"
    with supervised(tmp_path, script, "NotifyAccess=main\nTimeoutStartSec=600ms") as service, pytest.raises(NotReady):
        service.wait_ready(5.0)


def test_a_socket_unit_beside_it_gives_it_its_socket(tmp_path: Path) -> None:
    (tmp_path / "test.socket").write_text("[Socket]\nListenStream=/run/it.sock\n")
    script = DAEMON + "assert os.environ['LISTEN_PID'] == str(os.getpid())\ntell('STATUS=' + socket.socket(fileno=3).getsockname())\ntime.sleep(60)"
    (tmp_path / "daemon.py").write_text(script)
    (tmp_path / "test.service").write_text("[Service]\nExecStart=/opt/it\n")
    names = {"/opt/it": f"{sys.executable} {tmp_path}/daemon.py", "/run/it.sock": f"{tmp_path}/it.sock"}
    with Supervised(tmp_path / "test.service", names, {}, tmp_path / "log") as service:
        service.wait_until(lambda s: s.status == f"{tmp_path}/it.sock", 5.0)


@pytest.mark.parametrize("text, seconds", [("100ms", 0.1), ("5", 5.0), ("1min 30s", 90.0), ("0", 0.0), ("infinity", float("inf"))])
def test_time_spans(text: str, seconds: float) -> None:
    assert span_s(text) == seconds
