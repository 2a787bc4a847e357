"""The node's side of the controller's protocol, reduced to its words: reports that are sealed, grants that are obeyed at once."""

from dataclasses import dataclass, field

from gpuwarden.controller.events import Action, ReportArrived, SendGrant, SessionOpened, Tick, WriteLedger
from gpuwarden.controller.machine import Controller
from gpuwarden.core.seal import Way, seal, unseal
from gpuwarden.proto.control_pb2 import Action as Line
from gpuwarden.proto.lease_pb2 import Applied, CardReport, Grant, GrantInForce, Mode, PowerReport

KEY = bytes(32)
GPUS = 8


@dataclass
class Limiter:
    """One node of eight GPUs. Watts are the node's sum."""

    node: str
    demand_w: float = 3000.0
    limit_w: float = 1600.0
    mode: "Mode.ValueType" = Mode.MODE_OBSERVE
    since_s: float = -100.0  # when the limit last changed
    sequence: int = 0
    start: str = "start-1"
    grant: Grant | None = None
    epoch: int = 0  # it outlasts a start
    applied: Applied | None = None
    clock_max_hz: float = 0.0
    clocks_hz: tuple[float, ...] = ()
    key: bytes = KEY
    obeys: float = 1.0  # more: its cards draw so much more than their limits
    peak_w: float = 0.0  # reported since it obeyed its grant
    tells_age: bool = True  # False: an older one, which says nothing of how old its grant is

    @property
    def enforced_w(self) -> float:
        return self.limit_w if self.mode == Mode.MODE_AUTO else 5600.0

    def report(self, now_s: float) -> bytes:
        self.sequence += 1
        power_w, limit_w = min(self.demand_w, self.enforced_w * self.obeys) / GPUS, self.enforced_w / GPUS
        self.peak_w = max(self.peak_w, power_w * GPUS)
        card = CardReport(power_w=power_w, default_w=700, min_w=200, max_w=700, requested_w=limit_w, enforced_w=limit_w)
        made = PowerReport(
            version=1, node=self.node, limiter_start=self.start, sequence=self.sequence, stamp_s=now_s, cards=[card] * GPUS,
            mode=self.mode, floor_w=200.0, epoch=self.epoch,
            confirmed_for_s=now_s - self.since_s if self.mode == Mode.MODE_AUTO else None,
            applied=self.applied, clock_max_hz=self.clock_max_hz, clocks_hz=self.clocks_hz,
        )
        if self.grant is not None:
            made.grant.CopyFrom(GrantInForce(
                epoch=self.grant.epoch, sequence=self.grant.sequence, controller_id=self.grant.controller_id,
                limits_w=self.grant.limits_w, ends_in_s=self.grant.echo_stamp_s + self.grant.lease_s - now_s,
                age_s=now_s - self.grant.echo_stamp_s if self.tells_age else None, peak_w=self.peak_w if self.tells_age else None,
            ))
        return seal(self.key, Way.UP, self.node, made.SerializeToString())

    def obey(self, now_s: float, sealed: bytes) -> None:
        grant = Grant.FromString(unseal(self.key, Way.DOWN, self.node, sealed))
        if (grant.mode, sum(grant.limits_w)) != (self.mode, self.limit_w):
            self.since_s = now_s
            self.applied = Applied(sequence=grant.sequence, echo_s=grant.echo_stamp_s, received_s=now_s, set_s=now_s)
        self.clocks_hz, self.peak_w = tuple(grant.clocks_hz), 0.0
        self.mode, self.limit_w, self.grant, self.epoch = grant.mode, sum(grant.limits_w), grant, grant.epoch


@dataclass
class Row:
    """A controller and the limiters that it has sessions with. Every limiter reports once a second, the row ticks ten times."""

    controller: Controller
    limiters: list[Limiter]
    now_s: float = 0.0
    lines: list[Line] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)

    def connect(self) -> None:
        for session, limiter in enumerate(self.limiters):
            self.perform(self.controller.step(self.now_s, SessionOpened(session, limiter.node, "test")))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            tenth = round(self.now_s * 10)
            for session, limiter in enumerate(self.limiters):
                if session % 10 == tenth % 10 and limiter.node not in self.silent:
                    self.report(session)
            self.perform(self.controller.step(self.now_s, Tick(round(self.now_s * 1e9))))
            self.now_s = (tenth + 1) / 10

    def report(self, session: int) -> list[Action]:
        sealed = self.limiters[session].report(self.now_s)
        return self.perform(self.controller.step(self.now_s, ReportArrived(session, sealed)))

    def perform(self, actions: list[Action]) -> list[Action]:
        for action in actions:
            if isinstance(action, WriteLedger):
                self.lines += map(Line.FromString, action.payloads)
            elif isinstance(action, SendGrant):
                self.limiters[action.session].obey(self.now_s, action.sealed)
        self.done += actions
        return actions
