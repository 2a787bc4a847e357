"""The units: clean, hardened, and what they promise holds of the real daemons that they start."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deploy.units import FLOOR_W, UNITS, agent_config, controller_config, limiter_config, supervised
from fakes.nvml.steer import FakeNode
from services.supervisor import Supervised

SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
STOP_S = 5.0


@pytest.fixture
def gpus(tmp_path: Path) -> Iterator[FakeNode]:
    with FakeNode(tmp_path / "gpus", gpus=8) as node:
        node.set_demands(650.0)
        yield node


def limits_w(node: FakeNode) -> list[float]:
    return [node.limit_w(gpu) for gpu in range(node.gpus)]


AT_FLOOR = [FLOOR_W] * 8


def limiter(folder: Path, gpus: FakeNode, mode: str = "AUTO") -> Supervised:
    return supervised("limiter", folder, gpus, limiter_config(folder, mode))


def analyze(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, env={**os.environ, **env}, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as they would be installed, with a program that is there and what the drop-ins are added to."""
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(UNITS, folder, dirs_exist_ok=True)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/gpuwarden/bin/gpuwarden", "/bin/true"))
    for drop_in in folder.glob("*.service.d"):
        (folder / drop_in.stem).write_text("[Service]\nExecStart=/bin/true\n")
    (folder / "gpuwarden-agent.service.d").mkdir()
    shutil.copy(UNITS.parent / "examples" / "credentials.conf", folder / "gpuwarden-agent.service.d")
    return folder


@pytest.mark.parametrize("unit", [*SERVICES, "gpuwarden-limiter.socket", *sorted(p.stem for p in UNITS.glob("*.service.d"))])
def test_systemd_finds_nothing_to_say_about_a_unit(unit: str, installed: Path) -> None:
    checked = analyze("verify", "--man=no", str(installed / unit), SYSTEMD_UNIT_PATH=f"{installed}:")
    assert (checked.returncode, checked.stderr.strip()) == (0, "")


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_exposed_by_at_most_two_of_ten(unit: str) -> None:
    checked = analyze("security", "--offline=true", "--threshold=20", str(UNITS / unit))
    print(checked.stdout.strip().splitlines()[-1])
    assert checked.returncode == 0


@pytest.mark.parametrize("drop_in", sorted(UNITS.glob("*.service.d/*.conf")), ids=lambda path: str(path.parent.stem))
def test_what_runs_jobs_waits_for_the_limiter_and_is_not_restarted_with_it(drop_in: Path) -> None:
    settings = [line for line in drop_in.read_text().splitlines() if line and not line.startswith("#")]
    assert settings == ["[Unit]", "Requires=gpuwarden-ready.service", "After=gpuwarden-ready.service"]
    waits = (UNITS / "gpuwarden-ready.service").read_text()
    assert "\nAfter=gpuwarden-limiter.service\n" in waits and not re.search(r"^(Requires|BindsTo|PartOf)=", waits, re.MULTILINE)


def test_the_users_of_the_units_are_made() -> None:
    made = subprocess.run(["systemd-sysusers", "--dry-run", UNITS / "gpuwarden.sysusers"], capture_output=True, text=True, check=True)
    told = made.stdout + made.stderr
    for unit in UNITS.glob("gpuwarden-*"):
        for name in re.findall(r"^(?:User|Group|SocketGroup)=(gpuwarden\S*)", unit.read_text(), re.MULTILINE):
            assert f"'{name}'" in told


def test_what_the_guides_tell_to_install_is_there() -> None:
    for guide in ("deploy.md", "upgrade.md"):
        for named in re.findall(r"deploy/\S+", (UNITS.parents[1] / "docs" / guide).read_text()):
            assert (UNITS.parents[1] / named.rstrip("`.,)")).exists(), named


def test_a_limiter_in_auto_is_ready_when_every_card_has_its_floor(gpus: FakeNode, tmp_path: Path) -> None:
    with limiter(tmp_path, gpus) as service:
        service.wait_ready(20.0)
        assert limits_w(gpus) == AT_FLOOR
        assert service.status == "8 cards obey their floor"


def test_a_limiter_whose_card_takes_no_limit_is_not_ready_and_says_which_and_why(gpus: FakeNode, tmp_path: Path) -> None:
    gpus.set("no_permission", 1, gpu=3)
    with limiter(tmp_path, gpus) as service:
        service.wait_until(lambda s: "card 3 is at 700 W instead of 200 W (" in s.status, 20.0)
        time.sleep(1.0)
        assert not service.ready and limits_w(gpus) == [700.0 if gpu == 3 else FLOOR_W for gpu in range(8)]
        gpus.set("no_permission", 0, gpu=3)
        service.wait_ready(5.0)
        assert limits_w(gpus) == AT_FLOOR


def test_a_limiter_that_observes_is_ready_and_touches_nothing_also_after_its_end(gpus: FakeNode, tmp_path: Path) -> None:
    with limiter(tmp_path, gpus, "OBSERVE") as service:
        service.wait_ready(20.0)
        assert service.status == "8 cards are read, and none is touched"
    assert limits_w(gpus) == [700.0] * 8
    assert "not in auto: nothing is touched" in service.log_path.read_text()


def test_a_killed_limiter_leaves_the_floor_before_it_is_started_again(gpus: FakeNode, tmp_path: Path) -> None:
    with limiter(tmp_path, gpus) as service:
        service.wait_ready(20.0)
        gpus.reset_limits(650.0)
        service.kill()
        took_s = service.wait_until(lambda s: limits_w(gpus) == AT_FLOOR, 10.0)
        assert service.restarts == 0, "it was the post command"
        service.wait_until(lambda s: s.restarts == 1 and s.ready, 20.0)
        print(f"limiter: killed, and {took_s:.2f} s later every card is at its floor")


def test_the_post_command_alone_sets_the_floor_and_says_so_of_every_card(gpus: FakeNode, tmp_path: Path) -> None:
    service = limiter(tmp_path, gpus)
    (command,) = service.unit.commands("ExecStopPost")
    gpus.lose(5)
    gpus.reset_limits(650.0)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **gpus.env()}, check=False)
    assert done.stdout.count("at its floor of 200 W") == 7 and "lost" in done.stdout.lower() and done.returncode == 1
    assert [w for gpu, w in enumerate(limits_w(gpus)) if gpu != 5] == [FLOOR_W] * 7
    gpus.lose(5, False)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **gpus.env()}, check=False)
    assert (done.returncode, limits_w(gpus)) == (0, AT_FLOOR)


def test_a_limiter_that_hangs_is_ended_by_the_watchdog_and_every_card_goes_to_its_floor(gpus: FakeNode, tmp_path: Path) -> None:
    with limiter(tmp_path, gpus) as service:
        service.wait_ready(20.0)
        time.sleep(1.5)
        assert service.restarts == 0, "it turns though nothing happens"
        gpus.reset_limits(650.0)
        service.kill(signal.SIGSTOP)
        took_s = service.wait_until(lambda s: limits_w(gpus) == AT_FLOOR, 8.0)
        service.wait_until(lambda s: s.ends == ["watchdog"] and s.ready, 20.0)
        print(f"limiter: stopped as by a hang, and {took_s:.2f} s later every card is at its floor")


def test_a_driver_that_hangs_is_no_hang_of_the_limiter(gpus: FakeNode, tmp_path: Path) -> None:
    with limiter(tmp_path, gpus) as service:
        service.wait_ready(20.0)
        gpus.hang(True)
        service.wait_until(lambda s: s.status.startswith("the driver does not answer"), 10.0)
        time.sleep(1.5)
        assert service.restarts == 0 and service.ready
        stop_s = service.stop()
        print(f"limiter: stops in {stop_s:.2f} s while the driver hangs, its post command included")
        assert stop_s < STOP_S


def test_every_other_daemon_works_and_stops_within_five_seconds_though_nobody_else_is_there(gpus: FakeNode, tmp_path: Path) -> None:
    configs = {
        "agent": agent_config(tmp_path), "detector": '[bus]\nbootstrap = ["127.0.0.1:1"]\n', "recorder": "",
        "controller": controller_config(tmp_path),
    }
    services = {name: supervised(name, tmp_path, gpus, config) for name, config in configs.items()}
    for service in services.values():
        service.__enter__()
    try:
        for name, service in services.items():
            print(f"{name}: ready in {service.wait_ready(40.0):.2f} s: {service.status}")
        gpus.hang(True)
        time.sleep(1.5)
        assert all(service.ready and service.restarts == 0 for service in services.values())
        with ThreadPoolExecutor() as side_by_side:
            stops_s = dict(zip(services, side_by_side.map(Supervised.stop, services.values()), strict=True))
        print(", ".join(f"{name} stops in {s:.2f} s" for name, s in stops_s.items()), "without Kafka, controller, limiter and driver")
        assert max(stops_s.values()) < STOP_S and all(service.ends == ["success"] for service in services.values())
    finally:
        for service in services.values():
            service.stop()
