"""The controller that this machine's agent calls, or that is configured here: answers, and decides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc

from gpuwarden.cli.checks.found import Found, absent, ok, wrong
from gpuwarden.cli.checks.own_tls import name_shown
from gpuwarden.cli.checks.place import Place
from gpuwarden.cli.client import serving
from gpuwarden.core.address import Address
from gpuwarden.core.channel import open_channel
from gpuwarden.core.config import ConfigError

PATIENCE_S: Final = 2.0
HANDSHAKE_S: Final = 0.5  # a controller that hangs has the rest of the check's time to be told so
_STATUS: Final = "systemctl status gpuwarden-controller"
_CALLED: Final = "grpc.ssl_target_name_override"


def check(place: Place) -> Iterator[Found]:
    agent, controller = place.agent, place.controller
    here = None if controller is None else controller.listen.nearby
    called = None if agent is None else agent.controller
    if here is None and called is None:
        yield absent("no controller and no agent that calls one is configured here")
    if controller is not None and here is not None and here != called:
        yield _answers(here, controller.tls_dir, _STATUS, by_any_name=True)
    if agent is not None and called is not None:
        yield _answers(called, agent.tls_dir, _STATUS if called == here else f"nc -zv {called.host} {called.port}")


def _answers(address: Address, tls_dir: Path | None, then: str, by_any_name: bool = False) -> Found:
    """What an agent calls must be in the certificate; where a controller listens need not be."""
    try:
        name = name_shown(address, tls_dir, HANDSHAKE_S) if by_any_name and tls_dir is not None else ""
        with open_channel(address, tls_dir, [(_CALLED, name)] if name else []) as channel:
            decides = serving(channel, PATIENCE_S)
    except ConfigError as why:
        return wrong(f"no way to the controller at {address}: {why}", f"ls -l {tls_dir}")
    except grpc.RpcError as why:
        assert isinstance(why, grpc.Call), "a unary call's error is the call itself"
        return wrong(f"no controller at {address}: {why.code().name}: {why.details()}", then)
    if not decides:
        return wrong(f"the controller at {address} is NOT_SERVING: it has not decided for seconds", "journalctl -u gpuwarden-controller -n 50")
    return ok(f"the controller at {address} is SERVING")
