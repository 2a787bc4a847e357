"""A broker that asks who one is: whom it lets in, what each role may do there, and what is said of who is refused."""

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from services.kafka_secure import ADMIN, USERS, SecureBroker, password

from gpuwarden.core.bus import BusConfig, BusError
from gpuwarden.core.bus_kafka import KafkaBus
from gpuwarden.core.bus_kafka_admin import administering
from gpuwarden.core.bus_kafka_rights import found_rights, grant
from gpuwarden.core.bus_roles import AGENT, DETECTOR, ROLES, rights
from gpuwarden.core.connect import connect
from gpuwarden.proto import topics

# kafka-python 3.0 does not close a socket whose TLS handshake fails, or is cut off as its client closes: whoever runs when it is collected would fail for it.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")

PATIENCE_S = 3.0


@pytest.fixture(scope="module")
def guarded(secure_broker: SecureBroker) -> SecureBroker:
    """With all topics, and the rights of each role for the user of its name."""
    with administering(secure_broker.user(ADMIN), 10.0) as kafka:
        kafka.see_to(topics.ALL, 4)
        grant(kafka.admin, [right for name, role in ROLES.items() for right in rights(role, name)])
    return secure_broker


def try_to_send(config: BusConfig, topic: str) -> str:
    """Why it could not; empty if it could."""
    with closing(KafkaBus(config, [], PATIENCE_S).producer()) as producer:
        try:
            producer.send(topic, "node-1", b"x")
            producer.flush(10.0)
        except BusError as why:
            return str(why)
    return ""


def try_to_read(config: BusConfig, topic: str, group: str) -> str:
    """Why it could not; empty if there was something to read."""
    with closing(KafkaBus(config, [], PATIENCE_S).consumer([topic], group)) as consumer:
        try:
            return "" if consumer.poll(10.0, 10) else "nothing came"
        except BusError as why:
            return str(why)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_an_agent_with_its_password_writes_telemetry(guarded: SecureBroker, mechanism: str) -> None:
    assert KafkaBus(guarded.user("agent", mechanism), AGENT.topics, PATIENCE_S)
    assert try_to_send(guarded.user("agent", mechanism), topics.TELEMETRY) == ""


def test_an_agent_with_its_certificate_writes_telemetry_and_nothing_else(guarded: SecureBroker) -> None:
    config = guarded.holder("agent", "gpu01")
    assert try_to_send(config, topics.TELEMETRY) == ""
    assert "TopicAuthorizationFailed" in try_to_send(config, topics.FINDINGS)


@pytest.mark.parametrize("topic", [t for t in topics.ALL if t not in AGENT.writes])
def test_an_agent_can_write_no_topic_of_another_role(guarded: SecureBroker, topic: str) -> None:
    assert "TopicAuthorizationFailed" in try_to_send(guarded.user("agent"), topic)


@pytest.mark.parametrize("group", ["gpuwarden-detector", "its-own"])
def test_an_agent_can_read_no_telemetry(guarded: SecureBroker, group: str) -> None:
    assert try_to_send(guarded.user("agent"), topics.TELEMETRY) == ""
    assert "AuthorizationFailed" in try_to_read(guarded.user("agent"), topics.TELEMETRY, group)


def test_an_agent_can_neither_make_nor_delete_a_topic_nor_give_itself_rights(guarded: SecureBroker) -> None:
    with administering(guarded.user("agent"), PATIENCE_S) as kafka:
        with pytest.raises(BusError, match="AuthorizationFailed"), administering(guarded.user("agent"), PATIENCE_S) as theirs:
            theirs.create({"gpuwarden.more": {"partitions": "1"}})
        with pytest.raises(BusError, match="AuthorizationFailed"), administering(guarded.user("agent"), PATIENCE_S) as theirs:
            theirs.admin.delete_topics([topics.TELEMETRY])
        with pytest.raises(BusError, match="AuthorizationFailed"), administering(guarded.user("agent"), PATIENCE_S) as theirs:
            grant(theirs.admin, list(rights(DETECTOR, "agent")))
        assert kafka.absent([topics.TELEMETRY]) == []


def test_each_reader_reads_what_it_must_and_no_other_group_is_open_to_it(guarded: SecureBroker) -> None:
    assert try_to_send(guarded.user("detector"), topics.FINDINGS) == ""
    assert try_to_read(guarded.user("controller"), topics.FINDINGS, "gpuwarden-controller") == ""
    assert try_to_read(guarded.user("detector"), topics.FINDINGS, "gpuwarden-detector-starts-1a2b") == ""
    assert try_to_read(guarded.user("recorder"), topics.FINDINGS, "gpuwarden-recorder") == ""
    assert "GroupAuthorizationFailed" in try_to_read(guarded.user("recorder"), topics.FINDINGS, "gpuwarden-controller")
    assert try_to_send(guarded.user("controller"), topics.ACTIONS) == ""
    for user, topic in (("controller", topics.FINDINGS), ("detector", topics.ACTIONS), ("recorder", topics.TELEMETRY)):
        assert "AuthorizationFailed" in try_to_send(guarded.user(user), topic)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_finds_all_topics_that_it_needs(guarded: SecureBroker, role: str) -> None:
    assert KafkaBus(guarded.user(role), ROLES[role].topics, PATIENCE_S)


def test_who_has_no_right_to_its_topics_waits_and_is_told_what_to_type(guarded: SecureBroker) -> None:
    with pytest.raises(BusError, match=r"gpuwarden\.telemetry\.v1: not there, or .* no right to it; type: gpuwarden topics --acls"):
        KafkaBus(guarded.user("stranger"), AGENT.topics, PATIENCE_S)


def test_who_may_see_but_not_create_a_topic_is_told_what_to_type(guarded: SecureBroker) -> None:
    """The right to write names that do not exist yet."""
    right = next(rights(AGENT, "agent"))
    with administering(guarded.user(ADMIN), 10.0) as kafka:
        grant(kafka.admin, [replace(right, name="gpuwarden.telemetry.v2")])
    with pytest.raises(BusError, match=r"v2: not there, and this client may not create topics; type: gpuwarden topics"):
        KafkaBus(guarded.user("agent"), ["gpuwarden.telemetry.v2"], PATIENCE_S)


def wrong_password(guarded: SecureBroker) -> BusConfig:
    return replace(guarded.user("agent"), sasl_username="detector")


def no_password(guarded: SecureBroker) -> BusConfig:
    return BusConfig(bootstrap=(guarded.by_password,))


def no_certificate(guarded: SecureBroker) -> BusConfig:
    return replace(guarded.holder("agent", "gpu01"), ssl_certificate_file=None, ssl_key_file=None)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (wrong_password, "invalid credentials with SASL mechanism SCRAM-SHA-512|may have refused user and password"),
        (no_password, r"\(PLAINTEXT\): "),
        (no_certificate, r"\(SSL\): .*certificate"),
    ],
)
def test_who_is_refused_says_why_and_no_secret_and_tries_again(
    guarded: SecureBroker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    config: Callable[[SecureBroker], BusConfig],
    reason: str,
) -> None:
    monkeypatch.setattr("gpuwarden.core.connect.PATIENCE_S", 1.2)
    monkeypatch.setattr("gpuwarden.core.connect.PAUSE_S", 0.0)
    attempts, stop = list[str](), threading.Event()

    def waits(why: str) -> None:
        attempts.append(why)
        if len(attempts) == 2:
            stop.set()

    caplog.set_level(logging.DEBUG)
    with pytest.raises(BusError, match="stopped while waiting"):
        connect(config(guarded), stop, waits)
    said = [record.getMessage() for record in caplog.records if record.name == "gpuwarden.bus"]
    assert any("waiting for Kafka" in line for line in said)
    assert all(re.search(reason, why) for why in attempts)
    assert not [user for user in USERS if password(user) in caplog.text]


TRUSTING_OTHERS = """
import sys
from pathlib import Path
from gpuwarden.core.bus import BusConfig, BusError
from gpuwarden.core.bus_kafka import KafkaBus
for bootstrap, ca_file in ((sys.argv[1], None), (sys.argv[1].replace("127.0.0.1", "localhost"), Path(sys.argv[3]))):
    config = BusConfig(
        bootstrap=(bootstrap,), security_protocol="SASL_SSL", ssl_ca_file=ca_file, sasl_mechanism="PLAIN", sasl_username="agent",
        sasl_password_file=Path(sys.argv[2]),
    )
    try:
        KafkaBus(config, [], 1.0)
    except BusError as why:
        print(why)
"""


def test_a_broker_whose_certificate_nobody_known_has_signed_or_is_for_another_name_is_refused(guarded: SecureBroker) -> None:
    """In a process of its own: kafka-python leaves the socket of a failed handshake behind."""
    files = (guarded.user("agent").sasl_password_file, guarded.ca_file)
    command = [sys.executable, "-c", TRUSTING_OTHERS, guarded.by_password, *map(str, files)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30.0).stdout.splitlines()
    assert ["unable to get local issuer certificate" in said[0], "Hostname mismatch" in said[1], len(said)] == [True, True, 2]


def test_a_file_that_cannot_be_read_is_named(guarded: SecureBroker, tmp_path: Path) -> None:
    absent, config = tmp_path / "absent", guarded.user("agent")
    for wrong in (
        replace(config, sasl_password_file=absent),
        replace(config, ssl_ca_file=absent),
        replace(config, ssl_certificate_file=absent, ssl_key_file=absent),
    ):
        with pytest.raises(BusError, match="absent"):
            KafkaBus(wrong, [], 2.0)


def test_a_secret_that_others_may_read_is_not_used(guarded: SecureBroker, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    for wrong in (
        replace(guarded.user("agent"), sasl_password_file=tmp_path / "open"),
        replace(guarded.holder("agent", "gpu01"), ssl_key_file=tmp_path / "open"),
    ):
        with pytest.raises(BusError, match="others may read it; chmod 600"):
            KafkaBus(wrong, [], 2.0)


def test_found_rights_are_those_that_were_given(guarded: SecureBroker) -> None:
    with administering(guarded.user(ADMIN), 10.0) as kafka:
        assert {right for name, role in ROLES.items() for right in rights(role, name)} <= found_rights(kafka.admin)
