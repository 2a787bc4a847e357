"""The controller that this machine's agent calls, or that is configured here: answers, and decides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc

from gpuwarden.cli.checks.found import Found, absent, ok, wrong
from gpuwarden.cli.checks.place import Place
from gpuwarden.cli.client import serving
from gpuwarden.core.address import Address
from gpuwarden.core.channel import open_channel
from gpuwarden.core.config import ConfigError

PATIENCE_S: Final = 2.0


def check(place: Place) -> Iterator[Found]:
    agent, controller = place.agent, place.controller
    ways = dict[Address, Path | None]()  # to its folder of certificates
    if controller is not None:
        ways[controller.listen] = controller.tls_dir
    if agent is not None and agent.controller is not None:
        ways[agent.controller] = agent.tls_dir
    if not ways:
        yield absent("no controller and no agent that calls one is configured here")
    for address, tls_dir in ways.items():
        yield _answers(address, tls_dir, here=controller is not None and address == controller.listen)


def _answers(address: Address, tls_dir: Path | None, here: bool) -> Found:
    then = "systemctl status gpuwarden-controller" if here else f"nc -zv {address.host} {address.port}"
    try:
        with open_channel(address, tls_dir) as channel:
            decides = serving(channel, PATIENCE_S)
    except ConfigError as why:
        return wrong(f"no way to the controller at {address}: {why}", f"ls -l {tls_dir}")
    except grpc.RpcError as why:
        assert isinstance(why, grpc.Call), "a unary call's error is the call itself"
        return wrong(f"no controller at {address}: {why.code().name}: {why.details()}", then)
    if not decides:
        return wrong(f"the controller at {address} is NOT_SERVING: it has not decided for seconds", "journalctl -u gpuwarden-controller -n 50")
    return ok(f"the controller at {address} is SERVING")
