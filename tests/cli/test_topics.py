"""`gpuwarden topics` on real brokers."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from services import kafka
from services.kafka_secure import ADMIN, SecureBroker
from services.port import free_port

from gpuwarden.cli.main import main
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.bus_kafka_admin import KafkaTopics, administering
from gpuwarden.proto import topics


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[kafka.Broker]:
    """One without topics."""
    with kafka.running(tmp_path) as running:
        yield running


@contextmanager
def reach(broker: kafka.Broker) -> Iterator[KafkaTopics]:
    with administering(BusConfig(bootstrap=(broker.bootstrap,)), 10.0) as admin:
        yield admin


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Mapping[str, Any]]:
    """The exit code and the answer."""
    code = main(["topics", "--json", *arguments])
    answer: Mapping[str, Any] = json.loads(capsys.readouterr().out)
    return code, answer


def states(answer: Mapping[str, Any]) -> dict[str, str]:
    return {told["topic"]: told["state"] for told in answer["topics"]}


def test_topics_are_made_checked_and_set_where_that_does_no_harm(
    broker: kafka.Broker, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    where = ("--bootstrap", broker.bootstrap, "--partitions", "4")
    code, answer = ask(capsys, *where, "--dry-run")
    assert (code, set(states(answer).values())) == (1, {"would be created"})
    with reach(broker) as kafka_topics:
        assert kafka_topics.found(topics.ALL) == {}

    code, answer = ask(capsys, *where)
    assert (code, states(answer)) == (0, dict.fromkeys(topics.ALL, "created"))
    with reach(broker) as kafka_topics:
        found = kafka_topics.found(topics.ALL)
        for told in answer["topics"]:
            assert found[told["topic"]].items() >= told["wanted"].items()
        kafka_topics.set(topics.SCORES, {"retention.ms": "60000"})
        kafka_topics.set(topics.ACTIONS, {"retention.ms": "-1"})

    code, answer = ask(capsys, *where)
    assert code == 1
    assert states(answer) == dict.fromkeys(topics.ALL, "as wanted") | dict.fromkeys((topics.SCORES, topics.ACTIONS), "differs")

    code, answer = ask(capsys, *where, "--apply")
    assert (code, states(answer)[topics.SCORES], states(answer)[topics.ACTIONS]) == (1, "set", "differs")
    with reach(broker) as kafka_topics:
        found = kafka_topics.found((topics.SCORES, topics.ACTIONS))
        assert (found[topics.SCORES]["retention.ms"], found[topics.ACTIONS]["retention.ms"]) == ("604800000", "-1")

    code = main(["topics", "--bootstrap", broker.bootstrap, "--partitions", "8", "--apply"])
    assert code == 1
    assert "partitions: is 4, should be 8; left: a key would go on in another partition" in capsys.readouterr().out
    with reach(broker) as kafka_topics:
        assert kafka_topics.found((topics.TELEMETRY,))[topics.TELEMETRY]["partitions"] == "4"

    assert main(["topics", "--bootstrap", broker.bootstrap, "--acls", "--wait-s", "1"]) == 1
    assert "no authorizer.class.name" in caplog.text


def test_rights_are_given_once_and_others_are_shown(
    secure_broker: SecureBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = secure_broker.user(ADMIN)
    file = tmp_path / "admin.toml"
    file.write_text(
        f'[bus]\nbootstrap = ["{secure_broker.by_password}"]\nsecurity_protocol = "SASL_SSL"\nssl_ca_file = "{admin.ssl_ca_file}"\n'
        f'sasl_username = "{ADMIN}"\nsasl_password_file = "{admin.sasl_password_file}"\n'
    )
    where = ("--config", str(file), "--acls", "--principal", "agent=agent-gpu[01-02],login1")
    code, answer = ask(capsys, *where)
    mine = {(a["principal"], a["operation"], a["name"]): a["state"] for a in answer["acls"] if a["role"] == "agent"}
    assert mine == {
        (f"User:{node}", "WRITE", topic): "given"
        for node in ("agent-gpu01", "agent-gpu02", "login1")
        for topic in (topics.TELEMETRY, topics.COMM)
    }
    code, answer = ask(capsys, *where)
    assert {a["state"] for a in answer["acls"] if a["role"]} == {"as wanted"}
    code, answer = ask(capsys, "--config", str(file), "--acls", "--principal", "recorder=archive", "--dry-run")
    told = {(a["principal"], a["state"]) for a in answer["acls"]}
    assert ("User:archive", "would be given") in told and ("User:login1", "also there") in told
    assert code == 1


@pytest.mark.parametrize("wrong", ["agents=a", "agent=a b", "agent"])
def test_a_principal_that_cannot_be_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "--bootstrap", "127.0.0.1:1", "--acls", "--principal", wrong]) == 2
    assert "--principal" in capsys.readouterr().err


def test_a_broker_that_is_not_there_is_waited_for_as_long_as_was_said(caplog: pytest.LogCaptureFixture) -> None:
    bootstrap = f"127.0.0.1:{free_port()}"
    assert main(["topics", "--bootstrap", bootstrap, "--wait-s", "0.5"]) == 1
    assert f"waiting for Kafka: {bootstrap}" in caplog.text
