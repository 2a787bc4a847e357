"""Kafka: brokers answer, let us in, and have the topics. Nothing is created."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]  # has no types
from kafka.errors import AuthenticationFailedError, KafkaError  # type: ignore[import-untyped]  # has no types

from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.place import Place
from gpuwarden.core.bus import BusError
from gpuwarden.core.bus_kafka_access import access
from gpuwarden.proto import topics

if TYPE_CHECKING:
    from gpuwarden.core.bus import BusConfig

PATIENCE_S: Final = 1.5


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
    except AuthenticationFailedError as why:
        return wrong(f"{where}: SASL as {bus.sasl_username} is refused: {why}", f"cat {bus.sasl_password_file}")
    except (KafkaError, OSError) as why:
        return wrong(f"{where}: no broker answers within {PATIENCE_S:g} s: {why}", f"nc -zv {bus.bootstrap[0].replace(':', ' ')}")
    missing = sorted(set(topics.ALL) - there)
    if missing:
        return warning(f"{where}: answers; not there yet: {', '.join(missing)}", "systemctl start gpuwarden-detector")
    return ok(f"{where}: answers, all {len(topics.ALL)} topics are there")


def _topics(bus: "BusConfig") -> set[str]:
    admin = KafkaAdminClient(
        **access(bus), bootstrap_timeout_ms=1000 * PATIENCE_S, request_timeout_ms=1000 * PATIENCE_S, metrics_enabled=False
    )
    try:
        return set(admin.list_topics())
    finally:
        admin.close()
