"""A broker that takes TLS and a password only, and lets not everybody create topics."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from services import kafka

from gpuwarden.core.bus import BusConfig, BusError
from gpuwarden.core.bus_kafka import KafkaBus
from gpuwarden.core.connect import connect
from gpuwarden.proto.topics import TELEMETRY


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusConfig]:
    """How to reach a broker that takes TLS and a password only."""
    folder = tmp_path_factory.mktemp("guarded")
    certificate, key, password = folder / "certificate.pem", folder / "key.pem", folder / "password"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    (folder / "both.pem").write_text(key.read_text() + certificate.read_text())
    password.write_text("correct horse\n")
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="boss" password="correct horse" '
    more = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "both.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificate),
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": login + 'user_boss="correct horse" user_guest="correct horse";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:boss;User:ANONYMOUS",  # ANONYMOUS is the broker as its own controller
    }
    with kafka.running(folder, protocol="SASL_SSL", more=more) as broker:
        yield BusConfig(
            bootstrap=(broker.bootstrap,), security_protocol="SASL_SSL", ssl_ca_file=certificate,
            sasl_mechanism="PLAIN", sasl_username="boss", sasl_password_file=password,
        )  # fmt: skip


def test_who_may_not_create_topics_is_told_so_and_connected(guarded: BusConfig, caplog: pytest.LogCaptureFixture) -> None:
    connect(replace(guarded, sasl_username="guest"))
    assert "not all are there, and creating them is not allowed" in caplog.text


def test_records_travel_under_tls_and_a_password(guarded: BusConfig) -> None:
    bus = connect(guarded)
    producer, consumer = bus.producer(), bus.consumer([TELEMETRY], "readers")
    producer.send(TELEMETRY, "node-1", b"x")
    producer.flush(10.0)
    producer.close()
    assert [record.value for record in consumer.poll(20.0, 10)] == [b"x"]
    consumer.close()


def test_a_wrong_password_is_a_bus_error(guarded: BusConfig, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("incorrect horse")
    with pytest.raises(BusError):
        KafkaBus(replace(guarded, sasl_password_file=tmp_path / "wrong"), [], 2.0)


TRUSTING_OTHERS = """
import sys
from pathlib import Path
from gpuwarden.core.bus import BusConfig, BusError
from gpuwarden.core.bus_kafka import KafkaBus
config = BusConfig(
    bootstrap=(sys.argv[1],), security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="boss",
    sasl_password_file=Path(sys.argv[2]),
)
try:
    KafkaBus(config, [], 2.0)
except BusError:
    print("refused")
"""


def test_a_broker_whose_certificate_nobody_known_has_signed_is_a_bus_error(guarded: BusConfig) -> None:
    """In a process of its own: kafka-python leaves the socket of a failed handshake behind."""
    command = [sys.executable, "-c", TRUSTING_OTHERS, guarded.bootstrap[0], str(guarded.sasl_password_file)]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=30.0).stdout == "refused\n"


def test_a_file_that_cannot_be_read_is_named(guarded: BusConfig, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    for config in (
        replace(guarded, sasl_password_file=absent),
        replace(guarded, ssl_ca_file=absent),
        replace(guarded, ssl_certificate_file=absent, ssl_key_file=absent),
    ):
        with pytest.raises(BusError, match="absent"):
            KafkaBus(config, [], 2.0)
