"""Kafka: brokers answer, let us in, and have the topics that the daemons here touch. Nothing is created."""

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.place import Place
from gpuwarden.core.address import parse_address
from gpuwarden.core.bus import BusError
from gpuwarden.core.bus_kafka_admin import administering
from gpuwarden.core.bus_roles import ROLES

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
    where, wanted = f"Kafka at {', '.join(bus.bootstrap)} ({', '.join(of)})", sorted({topic for daemon in of for topic in ROLES[daemon].topics})
    try:
        with administering(bus, PATIENCE_S) as there:
            missing = there.absent(wanted)
    except BusError as why:
        return _unanswered(place, bus, of, f"{where}: {why}")
    if missing:
        return warning(f"{where}: answers; not there yet: {', '.join(missing)}", f"gpuwarden topics --config {place.file(of[0])}")
    return ok(f"{where}: answers, all {len(wanted)} topics that are needed here are there")


def _unanswered(place: Place, bus: "BusConfig", of: list[str], said: str) -> Found:
    """The broker's own reason is in `said` where it is heard before the connection ends; whether one listens is worth knowing too."""
    if not any(map(_listens, bus.bootstrap)):
        return wrong(f"{said}; nobody listens there", f"nc -zv {bus.bootstrap[0].replace(':', ' ')}")
    if bus.security_protocol.startswith("SASL_"):
        login = f"{bus.sasl_mechanism} as {bus.sasl_username!r}"
        return wrong(f"{said}; somebody listens there and does not take {login} by {bus.security_protocol}", f"cat {bus.sasl_password_file}")
    return wrong(f"{said}; somebody listens there and does not speak Kafka by {bus.security_protocol}", f"$EDITOR {place.file(of[0])}")


def _listens(broker: str) -> bool:
    address = parse_address(broker)
    try:
        socket.create_connection((address.host, address.port), LISTENS_S).close()
    except OSError:
        return False
    return True
