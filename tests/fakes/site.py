"""An authority with what it has signed, and calls to a controller that trusts it."""

import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from gpuwarden.cli.authority import Authority
from gpuwarden.controller.access import TRUST_DOMAIN
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub


class Site:
    """An authority and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)

    def controller(self) -> Path:
        return self.authority.leaf("controller", "c", TRUST_DOMAIN + "controller/c", ("localhost", "127.0.0.1"), 1.0)

    def holder(self, role: str, name: str = "someone", days: float = 1.0) -> Path:
        return self.authority.leaf(role, name, f"{TRUST_DOMAIN}{role}/{name}", (), days)


def failing(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    code: grpc.StatusCode = caught.value.code()
    return code


def cluster(channel: grpc.Channel) -> pb.GetClusterResponse:
    answer: pb.GetClusterResponse = ControlServiceStub(channel).GetCluster(pb.GetClusterRequest(), timeout=5, wait_for_ready=False)
    return answer


def wait_for_cluster(channel: grpc.Channel) -> pb.GetClusterResponse:
    """A controller that has just started has nothing to show for a moment."""
    for _ in range(50):
        try:
            return cluster(channel)
        except grpc.RpcError as why:
            if why.code() != grpc.StatusCode.UNAVAILABLE or "just started" not in str(why.details()):
                raise
        time.sleep(0.1)
    raise AssertionError("nothing was published")
