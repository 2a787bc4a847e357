"""Agents' ends of sessions with a controller, all in one process: sealed reports up, sealed grants down, limiters reduced to their words."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fakes.limiters import Limiter

from gpuwarden.core.version import VERSION
from gpuwarden.proto.control_pb2 import Hello, SessionRequest, SessionResponse
from gpuwarden.proto.control_pb2_grpc import AgentServiceStub
from gpuwarden.proto.lease_pb2 import Grant, Sealed

ANSWERED_WITHIN_S = 1.5
DEMANDS_W = (1200.0, 5000.0)


@dataclass
class Tally:
    """What one run has seen. Latencies are s, from a report written to its directive read."""

    reports: int = 0
    latencies_s: list[float] = field(default_factory=list)
    longest_wait_s: float = 0.0  # of any node, from one answer to the next
    failures: Counter[str] = field(default_factory=Counter)
    controller_cpu_s: float = 0.0
    load_cpu_s: float = 0.0


class Node:
    """One agent's end of a session, and its limiter."""

    def __init__(self, name: str, key: bytes, period_s: float, tally: Tally) -> None:
        self._limiter, self._period_s, self._tally = Limiter(name, key=key), period_s, tally
        self._chance = random.Random(name)
        self._limiter.demand_w = self._chance.uniform(*DEMANDS_W)
        self._answered_s, self._heard_s = 0.0, time.monotonic()

    async def run(self, server: str, until_s: float) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.keepalive_time_ms", 2000), ("grpc.keepalive_timeout_ms", 1000))
        async with grpc.aio.insecure_channel(server, options) as channel:
            call = AgentServiceStub(channel).Session(self._requests(until_s))
            try:
                async for response in call:
                    self._obey(response)
            except grpc.aio.AioRpcError as why:
                self._tally.failures[f"{why.code().name}: {why.details()}"] += 1

    async def _requests(self, until_s: float) -> AsyncIterator[SessionRequest]:
        yield SessionRequest(hello=Hello(version=1, node=self._limiter.node, agent_version=VERSION))
        due_s = time.monotonic() + self._chance.uniform(0.0, self._period_s)
        while due_s < until_s:
            await asyncio.sleep(due_s - time.monotonic())
            self._wander()
            self._tally.reports += 1
            yield SessionRequest(report=Sealed.FromString(self._limiter.report(time.monotonic())))
            due_s += self._period_s
        await asyncio.sleep(ANSWERED_WITHIN_S)

    def _wander(self) -> None:
        low_w, high_w = DEMANDS_W
        self._limiter.demand_w = min(max(self._limiter.demand_w * self._chance.gauss(1.0, 0.01), low_w), high_w)

    def waits(self) -> None:
        """Notes how long it has been since the last answer."""
        self._tally.longest_wait_s = max(self._tally.longest_wait_s, time.monotonic() - self._heard_s)

    def _obey(self, response: SessionResponse) -> None:
        if response.WhichOneof("message") == "grant":
            now_s = time.monotonic()
            echo_s = Grant.FromString(response.grant.payload).echo_stamp_s
            self._limiter.obey(now_s, response.grant.SerializeToString())
            if echo_s > self._answered_s:  # a limit that changes later echoes the same report
                self.waits()
                self._answered_s, self._heard_s = echo_s, now_s
                self._tally.latencies_s.append(now_s - echo_s)


class Steady(Node):
    """A node whose load stays as it is."""

    def __init__(self, name: str, key: bytes, demand_w: float, tally: Tally) -> None:
        super().__init__(name, key, 1.0, tally)
        self._demand_w = demand_w

    def _wander(self) -> None:
        self._limiter.demand_w = self._demand_w


def play(server: str, keys: dict[str, bytes], demand_w: float, duration_s: float) -> None:
    """Steady nodes that report once a second, for a process of its own."""
    tally, until_s = Tally(), time.monotonic() + duration_s

    async def all_of_them() -> None:
        await asyncio.gather(*(Steady(name, key, demand_w, tally).run(server, until_s) for name, key in keys.items()))

    asyncio.run(all_of_them())
