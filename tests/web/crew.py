"""Limiters that report to a controller over gRPC and obey it, so that a page has something to show."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from fakes.limiters import Limiter

from gpuwarden.controller.main import ControllerShell
from gpuwarden.proto.control_pb2 import Hello, SessionRequest
from gpuwarden.proto.control_pb2_grpc import AgentServiceStub
from gpuwarden.proto.lease_pb2 import Sealed

PERIOD_S = 0.5


@contextmanager
def working(shell: ControllerShell, *limiters: Limiter) -> Iterator[None]:
    over = threading.Event()
    with grpc.insecure_channel(str(shell.address)) as channel:
        threads = [threading.Thread(target=_work, args=(channel, limiter, over), daemon=True) for limiter in limiters]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def _work(channel: grpc.Channel, limiter: Limiter, over: threading.Event) -> None:
    """Until it is over or the controller is."""
    try:
        for response in AgentServiceStub(channel).Session(_said(limiter, over)):
            if response.HasField("grant"):
                limiter.obey(time.monotonic(), response.grant.SerializeToString())
    except grpc.RpcError:
        return


def _said(limiter: Limiter, over: threading.Event) -> Iterator[SessionRequest]:
    yield SessionRequest(hello=Hello(version=1, node=limiter.node, agent_version="0.1.0"))
    while not over.wait(PERIOD_S):
        yield SessionRequest(report=Sealed.FromString(limiter.report(time.monotonic())))
