"""Servers and the driver as doctor sees them: real ones, and what is wrong with them made for real."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from fakes.nvml.steer import FakeNode
from prometheus_client import CollectorRegistry, start_http_server
from services import kafka

from gpuwarden.cli.checks import CHECKS, controller_health, kafka_topics, metrics_pages
from gpuwarden.cli.checks.examiner import examine
from gpuwarden.cli.checks.found import Found
from gpuwarden.controller.config import ControllerConfig, read_keys
from gpuwarden.controller.main import ControllerShell
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.bus_kafka import KafkaBus
from gpuwarden.core.config import load
from gpuwarden.proto import topics

Told = Callable[[Iterable[Found]], dict[str, str]]
GPUS = 4


def test_nobody_at_the_controllers_ports_is_wrong(machine, told: Told) -> None:
    said = told(controller_health.check(machine.place))["wrong"]
    assert f"no controller at 127.0.0.1:{machine.controller_port}: UNAVAILABLE" in said
    assert said.endswith("-> systemctl status gpuwarden-controller")
    assert "Connection refused -> systemctl status gpuwarden-controller" in told(metrics_pages.check(machine.place))["wrong"]


def test_a_controller_that_runs_is_serving_and_its_metrics_are_its_own(machine, told: Told) -> None:
    config = load(machine.place.file("controller"), ControllerConfig)
    with ControllerShell(config, read_keys(config)) as shell:
        until_s = time.monotonic() + 10
        while "ok" not in told(controller_health.check(machine.place)):
            assert time.monotonic() < until_s and not shell.stop.wait(0.05)
        assert f"the controller at 127.0.0.1:{machine.controller_port} is SERVING" in told(controller_health.check(machine.place))["ok"]
        assert "of the controller has " in told(metrics_pages.check(machine.place))["ok"]


def test_somebody_elses_page_is_not_taken_for_ours(machine, told: Told) -> None:
    server, thread = start_http_server(machine.metrics_port, "127.0.0.1", CollectorRegistry())
    try:
        assert "answers, but it is not the controller's page" in told(metrics_pages.check(machine.place))["wrong"]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def with_bus(machine, bus: str) -> None:
    file = machine.place.file("agent")
    file.write_text(f"{file.read_text(encoding='utf-8')}[bus]\n{bus}\n", encoding="utf-8")


def test_brokers_that_are_away_are_wrong_within_the_checks_time(machine, told: Told) -> None:
    with_bus(machine, f'bootstrap = ["127.0.0.1:{machine.metrics_port}"]')
    said = told(kafka_topics.check(machine.place))["wrong"]
    assert f"Kafka at 127.0.0.1:{machine.metrics_port} (agent): " in said and "Unable to bootstrap" in said and "nobody listens there" in said
    assert f"-> nc -zv 127.0.0.1 {machine.metrics_port}" in said


def test_a_broker_with_the_topics_is_ok(machine, told: Told, kafka_broker: kafka.Broker) -> None:
    KafkaBus(BusConfig(bootstrap=(kafka_broker.bootstrap,)), topics.ALL, 10.0)
    with_bus(machine, f'bootstrap = ["{kafka_broker.bootstrap}"]')
    assert "answers, all 2 topics that are needed here are there" in told(kafka_topics.check(machine.place))["ok"]


def test_a_refused_password_is_named_and_absent_topics_are_not_created(
    machine, told: Told, tmp_path_factory: pytest.TempPathFactory
) -> None:
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="boss" password="right" user_boss="right";'
    more = {
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": login,
    }
    password = machine.place.config_dir / "password"
    with kafka.running(tmp_path_factory.mktemp("guarded"), protocol="SASL_PLAINTEXT", more=more) as broker:
        with_bus(
            machine,
            f'bootstrap = ["{broker.bootstrap}"]\nsecurity_protocol = "SASL_PLAINTEXT"\nsasl_mechanism = "PLAIN"\n'
            f'sasl_username = "boss"\nsasl_password_file = "{password}"',
        )
        assert "sasl_password_file: " in told(kafka_topics.check(machine.place))["wrong"]
        password.touch(mode=0o600)
        password.write_text("wrong", encoding="ascii")
        assert "does not take PLAIN as 'boss' by SASL_PLAINTEXT" in told(kafka_topics.check(machine.place))["wrong"]
        password.write_text("right", encoding="ascii")
        for _ in range(2):
            assert "not there yet: gpuwarden." in told(kafka_topics.check(machine.place))["warning"]


@pytest.fixture
def nvml_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is loaded in the check's own process, so this goes through the examiner."""
    for name in set(CHECKS) - {"nvml"}:
        monkeypatch.delitem(CHECKS, name)


@pytest.mark.usefixtures("nvml_alone")
def test_cards_within_their_ranges_are_ok(machine, told: Told, node: FakeNode) -> None:
    said = told(dict(examine(machine.place))["nvml"])
    assert set(said) == {"ok"}
    assert "4 cards" in said["ok"] and "limits of 4 cards are within their ranges" in said["ok"]


@pytest.mark.usefixtures("nvml_alone")
def test_what_is_wrong_with_cards_is_told_by_index(machine, told: Told, node: FakeNode) -> None:
    node.set("persistence", 0.0, 2)
    node.other_limit(1, 350.0)
    node.set("min_w", 260.0, 3)
    node.lose(0)
    said = told(dict(examine(machine.place))["nvml"])
    assert "persistence mode is off on GPU 2" in said["warning"]
    assert "GPU 1: enforces 350 W though 700 W was asked for" in said["warning"]
    assert "GPU 3: floor_w 200 W is outside its range of 260 to 700 W" in said["wrong"]
    assert "GPU 0: does not answer" in said["wrong"]


def test_a_driver_that_hangs_costs_its_own_check_only(machine, told: Told, node: FakeNode) -> None:
    node.hang(True)
    found = dict(examine(machine.place, deadline_s=2.5))
    assert list(found) == list(CHECKS)
    assert "this check itself failed: examine gave no answer within 2.5 s" in told(found["nvml"])["wrong"]
    assert "CLOCK_BOOTTIME goes" in told(found["boot clock"])["ok"]


@pytest.mark.usefixtures("nvml_alone")
def test_a_limiter_without_a_driver_is_wrong(machine, told: Told) -> None:
    if "LD_LIBRARY_PATH" in os.environ or Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a driver")
    assert "the limiter has no card to limit: NVML: LibraryNotFound -> nvidia-smi" in told(dict(examine(machine.place))["nvml"])["wrong"]
