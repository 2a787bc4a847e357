"""What the `[bus]` table may say."""

from typing import Any

import pytest

from gpuwarden.core.bus import BusConfig
from gpuwarden.core.config import ConfigError, parse

REACHABLE = {"bootstrap": ["kafka-1:9092", "[fd00::2]:9092"]}
SASL = {"sasl_username": "u", "sasl_password_file": "p"}
CLEAR = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}


@pytest.mark.parametrize(
    "table",
    [
        REACHABLE,
        {"kind": "memory"},
        REACHABLE | {"security_protocol": "SSL"},
        REACHABLE | {"security_protocol": "SSL", "ssl_certificate_file": "c.pem", "ssl_key_file": "k.pem"},
        REACHABLE | {"security_protocol": "SASL_SSL", "sasl_username": "u", "sasl_password_file": "p"},
        REACHABLE | SASL | {"security_protocol": "SASL_PLAINTEXT"},
        REACHABLE | SASL | {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"},
        {"bootstrap": ["127.0.0.1:9092"], "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"} | SASL,
    ],
)
def test_a_bus_that_can_be_is_accepted(table: dict[str, Any]) -> None:
    assert parse(table, BusConfig).bootstrap == tuple(table.get("bootstrap", ()))


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({}, "bootstrap: is empty, should be one host:port or more"),
        ({"bootstrap": ["kafka-1"]}, "bootstrap: 'kafka-1' is not host:port"),
        ({"kind": "rabbit"}, "kind: is 'rabbit', should be kafka or memory"),
        (REACHABLE | {"partitions": 0}, "partitions: is 0, should be 1 or more"),
        (REACHABLE | {"security_protocol": "TLS"}, "security_protocol: is 'TLS', should be PLAINTEXT or SSL or"),
        (REACHABLE | {"sasl_mechanism": "GSSAPI"}, "sasl_mechanism: is 'GSSAPI', should be PLAIN or"),
        (REACHABLE | {"security_protocol": "SASL_SSL", "sasl_username": "u"}, "should both be given with SASL_SSL"),
        (REACHABLE | {"sasl_username": "u"}, "sasl_username, sasl_password_file: are of no use with PLAINTEXT"),
        (REACHABLE | SASL | CLEAR, "sasl_mechanism: is PLAIN, which sends the password in clear"),
        (SASL | CLEAR | {"bootstrap": ["127.0.0.1:9092", "kafka-1:9092"]}, "sasl_mechanism: is PLAIN, which sends the password in clear"),
        (REACHABLE | {"ssl_ca_file": "ca.pem"}, "ssl_key_file: are of no use with PLAINTEXT"),
        (REACHABLE | {"security_protocol": "SSL", "ssl_key_file": "k"}, "ssl_key_file: should be given both or neither"),
    ],
)
def test_a_bus_that_cannot_be_is_refused_with_key_and_reason(table: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(table, BusConfig, "agent.toml: bus")
    assert line in str(refused.value)
