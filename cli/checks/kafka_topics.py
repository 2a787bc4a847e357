"""Kafka: brokers answer, let us in, and have the topics. Nothing is created."""

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]  # has no types
from kafka.errors import KafkaError  # type: ignore[import-untyped]  # has no types

from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.place import Place
from gpuwarden.core.address import parse_address
from gpuwarden.core.bus import BusError
from gpuwarden.core.bus_kafka_access import access
from gpuwarden.proto import topics

if TYPE_CHECKING:
    from gpuwarden.core.bus import BusConfig

PATIENCE_S: Final = 1.5
LISTENS_S: Final = 0.3


def check(place: Place) -> Iterator[Found]:
    daemons = dict["BusConfig", list[str]]()
    for daemon, bus in place.buses().items():
        if bus.kind == "kafka":
            daemons.setdefault(bus, []).append(daemon)
    if not daemons:
        yield absent("no configuration here has a [bus] with brokers")
    for bus, of in daemons.items():
        yield _brokers(place, bus, of)


def _brokers(place: Place, bus: "BusConfig", of: list[str]) -> Found:
    where = f"Kafka at {', '.join(bus.bootstrap)} ({', '.join(of)})"
    try:
        there = _topics(bus)
    except BusError as why:
        return wrong(f"{where}: {why}", f"$EDITOR {place.file(of[0])}")
    except (KafkaError, OSError) as why:
        return _unanswered(place, bus, of, f"{where}: {why}")
    missing = sorted(set(topics.ALL) - there)
    if missing:
        return warning(f"{where}: answers; not there yet: {', '.join(missing)}", "systemctl start gpuwarden-detector")
    return ok(f"{where}: answers, all {len(topics.ALL)} topics are there")


def _unanswered(place: Place, bus: "BusConfig", of: list[str], said: str) -> Found:
    """kafka-python tells a refused login as a broker that does not answer; whether one listens tells them apart."""
    if not any(map(_listens, bus.bootstrap)):
        return wrong(f"{said}; nobody listens there", f"nc -zv {bus.bootstrap[0].replace(':', ' ')}")
    if bus.security_protocol.startswith("SASL_"):
        login = f"SASL {bus.sasl_mechanism} as {bus.sasl_username!r}"
        return wrong(f"{said}; a broker listens and ends the login: {login} is refused, or it wants no {bus.security_protocol}",
                     f"cat {bus.sasl_password_file}")
    return wrong(f"{said}; somebody listens and does not speak Kafka by {bus.security_protocol}", f"$EDITOR {place.file(of[0])}")


def _listens(broker: str) -> bool:
    address = parse_address(broker)
    try:
        socket.create_connection((address.host, address.port), LISTENS_S).close()
    except OSError:
        return False
    return True


def _topics(bus: "BusConfig") -> set[str]:
    patience_ms = round(1000 * PATIENCE_S)
    admin = KafkaAdminClient(**access(bus), bootstrap_timeout_ms=patience_ms, request_timeout_ms=patience_ms)
    try:
        return set(admin.list_topics())
    finally:
        admin.close()
