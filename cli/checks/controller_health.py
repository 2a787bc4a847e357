"""The controller that this machine's agent calls, or that is configured here: answers, and decides."""

from collections.abc import Iterator
from typing import Final

import grpc

from gpuwarden.cli.checks.found import Found, absent, ok, wrong
from gpuwarden.cli.checks.place import Place
from gpuwarden.cli.client import dial, serving
from gpuwarden.core.address import Address

PATIENCE_S: Final = 2.0


def check(place: Place) -> Iterator[Found]:
    agent, controller = place.agent, place.controller
    called = {agent.controller} if agent is not None and agent.controller is not None else set[Address]()
    listens = {controller.listen} if controller is not None else set[Address]()
    if not called | listens:
        yield absent("no controller and no agent that calls one is configured here")
    for address in sorted(called | listens, key=str):
        yield _answers(address, here=address in listens)


def _answers(address: Address, here: bool) -> Found:
    then = "systemctl status gpuwarden-controller" if here else f"nc -zv {address.host} {address.port}"
    with dial(address) as channel:
        try:
            if serving(channel, PATIENCE_S):
                return ok(f"the controller at {address} is SERVING")
        except grpc.RpcError as why:
            assert isinstance(why, grpc.Call), "a unary call's error is the call itself"
            return wrong(f"no controller at {address}: {why.code().name}: {why.details()}", then)
    return wrong(f"the controller at {address} is NOT_SERVING: it has not decided for seconds", "journalctl -u gpuwarden-controller -n 50")
