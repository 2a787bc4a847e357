"""The units: clean, hardened, and what they promise holds of the real daemons that they start."""

import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deploy.units import FLOOR_W, NOBODY, UNITS, agent_config, controller_config, limiter_config, supervised
from fakes.nvml.steer import FakeNode
from services.supervisor import Supervised
from services.unit_file import read_unit

from gpuwarden.agent.limiter.config import LimiterConfig
from gpuwarden.cli.main import parser
from gpuwarden.core.config import load
from gpuwarden.detector.config import DetectorConfig
from gpuwarden.detector.history_config import RecorderConfig

EXAMPLES = UNITS.parent / "examples"
CREDENTIALS = {"agent": "credentials.conf", "detector": "kafka-credentials.conf", "recorder": "kafka-credentials.conf"}
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
BUS = f'[bus]\nbootstrap = ["{NOBODY}"]\n'
STOP_S = 5.0
FLOOR_WITHIN_S = 3.0
"""From a death, or the watchdog's second, to the floor; a new process of ours and its child start in between."""


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
    for daemon, example in CREDENTIALS.items():
        (folder / f"gpuwarden-{daemon}.service.d").mkdir()
        shutil.copy(EXAMPLES / example, folder / f"gpuwarden-{daemon}.service.d")
    shutil.copy(EXAMPLES / "models.conf", folder / "gpuwarden-detector.service.d")
    shutil.copy(EXAMPLES / "probes.conf", folder / "gpuwarden-agent.service.d")
    return folder


@pytest.mark.parametrize("unit", [*SERVICES, "gpuwarden-limiter.socket", "gpuwarden-train.timer", *sorted(p.stem for p in UNITS.glob("*.service.d"))])
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


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("Type", "notify"), ("Restart", "always"), ("StartLimitIntervalSec", "0"), ("OOMScoreAdjust", "-1000"),
        ("LimitMEMLOCK", "infinity"), ("MemorySwapMax", "0"), ("PrivateNetwork", "yes"), ("CapabilityBoundingSet", "CAP_SYS_ADMIN"),
        ("StateDirectory", "gpuwarden"),
    ],
)
def test_what_the_lease_rests_on_stands_in_the_limiters_unit(setting: str, value: str) -> None:
    assert read_unit(UNITS / "gpuwarden-limiter.service", {}).settings[setting] == [value]


def test_a_limiter_that_is_gone_is_noticed_within_a_second() -> None:
    unit = read_unit(UNITS / "gpuwarden-limiter.service", {})
    assert 0 < unit.span_s("WatchdogSec", 0.0) <= 1.0 and unit.span_s("RestartSec", 1.0) <= 0.1


def test_the_post_command_looks_for_the_state_where_a_limiter_keeps_it_unless_told_otherwise() -> None:
    (command,) = read_unit(UNITS / "gpuwarden-limiter.service", {}).commands("ExecStopPost")
    assert Path(command[command.index("--state") + 1]) == LimiterConfig(Path("key"), FLOOR_W).state_file


def test_training_reads_what_the_recorder_wrote_and_the_detector_what_training_wrote() -> None:
    recorder, train, detector = (read_unit(UNITS / f"gpuwarden-{name}.service", {}).settings for name in ("recorder", "train", "detector"))
    (command,) = read_unit(UNITS / "gpuwarden-train.service", {}).commands("ExecStart")
    args = parser("train").parse_args(command[1:])
    history, models = Path(args.past.removeprefix("parquet:")), args.registry
    assert train["User"] == recorder["StateDirectory"] == [history.name], "the same made-up user, so that it may read it"
    assert "User" not in recorder and "DynamicUser" in recorder, "whose name is then that of its unit"
    assert train["StateDirectory"] == [f"{history.name} {models.name}"] and train["UMask"] == ["0022"]
    assert read_unit(EXAMPLES / "models.conf", {}).settings["BindReadOnlyPaths"] == [f"/var/lib/private/{models.name}:{models}"]
    assert "DynamicUser" in detector


@pytest.mark.parametrize("daemon", CREDENTIALS)
def test_a_made_up_user_gets_its_secrets_as_credentials(daemon: str) -> None:
    assert "DynamicUser" in read_unit(UNITS / f"gpuwarden-{daemon}.service", {}).settings, "it cannot read a file of mode 600"
    handed_over = read_unit(EXAMPLES / CREDENTIALS[daemon], {}).settings["LoadCredential"]
    assert "kafka-password" in {one.partition(":")[0] for one in handed_over}


@pytest.mark.parametrize("daemon", ["detector", "recorder"])
def test_the_example_of_a_daemon_on_kafka_alone_is_understood(daemon: str) -> None:
    kind = RecorderConfig if daemon == "recorder" else DetectorConfig
    assert load(EXAMPLES / f"{daemon}.toml", kind).bus.bootstrap == ("127.0.0.1:9092",)


def test_the_users_of_the_units_are_made() -> None:
    made = subprocess.run(["systemd-sysusers", "--dry-run", UNITS / "gpuwarden.sysusers"], capture_output=True, text=True, check=True)
    told = made.stdout + made.stderr
    for unit in UNITS.glob("gpuwarden-*"):
        dynamic = "\nDynamicUser=yes\n" in unit.read_text()  # systemd makes that user as the unit starts
        for kind, name in re.findall(r"^(User|Group|SocketGroup)=(gpuwarden\S*)", unit.read_text(), re.MULTILINE):
            assert f"'{name}'" in told or (dynamic and kind == "User")


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
        took_s = service.wait_until(lambda s: limits_w(gpus) == AT_FLOOR, FLOOR_WITHIN_S)
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


HIGHER_FLOOR_W, LOWEST_W = 300.0, 200.0  # a simulated card takes no less


@pytest.mark.parametrize(
    ("broken", "floor_w", "says"),
    [
        (("limiter.toml",), HIGHER_FLOOR_W, "so it goes by: the floor of the last start, 300 W"),
        (("limiter.json",), HIGHER_FLOOR_W, "so it goes by: the floor of "),
        (("limiter.toml", "limiter.json"), LOWEST_W, "so it goes by: the lowest limit of each card"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_limiter_dies_at_its_floor_or_lower_though_its_files_are_damaged(
    gpus: FakeNode, tmp_path: Path, broken: tuple[str, ...], floor_w: float, says: str
) -> None:
    config = limiter_config(tmp_path, "AUTO").replace(f"floor_w = {FLOOR_W}", f"floor_w = {HIGHER_FLOOR_W}")
    with supervised("limiter", tmp_path, gpus, config) as service:
        service.wait_ready(20.0)
        for name in broken:
            (tmp_path / name).write_text("floor_w = \n")
        gpus.reset_limits(650.0)
        service.kill()
        service.wait_until(lambda s: limits_w(gpus) == [floor_w] * 8, FLOOR_WITHIN_S)
        service.wait_until(lambda s: says in s.log_path.read_text(), 5.0)


def test_the_post_command_touches_nothing_of_a_node_that_was_never_in_auto_though_its_configuration_is_damaged(
    gpus: FakeNode, tmp_path: Path
) -> None:
    service = limiter(tmp_path, gpus)
    (tmp_path / "limiter.toml").unlink()
    (tmp_path / "limiter.json").unlink()
    (command,) = service.unit.commands("ExecStopPost")
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **gpus.env()}, check=False)
    assert (done.returncode, limits_w(gpus)) == (0, [700.0] * 8)
    assert "so it goes by: not in auto" in done.stdout and "nothing is touched" in done.stdout


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY and os.geteuid() != 0,
    reason="this user may not lock memory (RLIMIT_MEMLOCK)",
)
def test_the_memory_of_the_limiter_and_of_the_child_that_sets_limits_is_locked(gpus: FakeNode, tmp_path: Path) -> None:
    with limiter(tmp_path, gpus) as service:
        service.wait_ready(20.0)
        assert service.pid is not None
        children = [pid for task in Path(f"/proc/{service.pid}/task").iterdir() for pid in (task / "children").read_text().split()]
        locked_kb = {pid: locked(pid) for pid in {str(service.pid), *children}}
        print(f"locked, in kB by process: {locked_kb}")
        assert len(locked_kb) == 2 and min(locked_kb.values()) > 0


def locked(pid: str) -> int:
    (found,) = re.findall(r"^VmLck:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found)


def test_a_limiter_that_hangs_is_ended_by_the_watchdog_and_every_card_goes_to_its_floor(gpus: FakeNode, tmp_path: Path) -> None:
    with limiter(tmp_path, gpus) as service:
        service.wait_ready(20.0)
        time.sleep(1.5)
        assert service.restarts == 0, "it turns though nothing happens"
        gpus.reset_limits(650.0)
        service.kill(signal.SIGSTOP)
        took_s = service.wait_until(lambda s: limits_w(gpus) == AT_FLOOR, FLOOR_WITHIN_S)
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
        "agent": agent_config(tmp_path), "detector": BUS, "recorder": BUS,
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
