"""Whatever happens, in whatever order: in auto no limit above the floor is ordered, or left standing, without a lease that runs, and
only a grant whose lease runs takes a node out of auto.

The oracle here is dumb: it remembers every genuine grant that was ever sealed, and knows nothing of how the limiter decides.
"""

import math
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpuwarden.agent.limiter.card import Card
from gpuwarden.agent.limiter.events import (
    Action,
    CardState,
    ClocksLocked,
    Directive,
    DriverHung,
    Event,
    LimitsRead,
    LockClocks,
    PowerRead,
    SendReport,
    SetLimits,
)
from gpuwarden.agent.limiter.machine import Limiter, LimiterSetup
from gpuwarden.core.seal import Way, seal, unseal
from gpuwarden.proto.lease_pb2 import Grant, Mode, PowerReport

KEY = bytes(range(32))
FLOOR_W, DEFAULT_W = 200.0, 700.0
CARDS = (Card("GPU-0", DEFAULT_W, 100.0, DEFAULT_W, 1.98e9), Card("GPU-1", DEFAULT_W, 100.0, DEFAULT_W, 1.98e9))
FLOORS, DEFAULTS = (FLOOR_W, FLOOR_W), (DEFAULT_W, DEFAULT_W)
MODES = (Mode.MODE_OBSERVE, Mode.MODE_NOTIFY, Mode.MODE_AUTO)
NAN = math.nan


@dataclass
class Trial:
    """A limiter that began in auto, a driver that obeys late or never, and what has been said so far."""

    limiter: Limiter = field(
        default_factory=lambda: Limiter(LimiterSetup("n1", "s1", CARDS, FLOORS, 3, Mode.MODE_AUTO), KEY)
    )
    now_s: float = 1000.0
    driver_w: tuple[float, ...] = (DEFAULT_W, DEFAULT_W)
    ordered: SetLimits | None = None  # the newest order
    locks: LockClocks | None = None  # that the driver has yet to take
    locked_hz: tuple[float, ...] = (1.2e9, 1.2e9)  # an earlier limiter's
    loads: int = 1
    sequence: int = 0
    reports: list[PowerReport] = field(default_factory=list)
    genuine: list[tuple[Grant, bytes]] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        before = self.limiter.mode
        for action in self.limiter.step(self.now_s, event):
            self._check(action)
        if self.limiter.mode != before:
            assert isinstance(event, Directive) and self.running(self.limiter.mode), f"{before} left at {self.now_s}"

    def _check(self, action: Action) -> None:
        if isinstance(action, SendReport):
            self.reports.append(PowerReport.FromString(unseal(KEY, Way.UP, "n1", action.sealed)))
        elif isinstance(action, SetLimits):
            assert self.allowed(action.limits_w), f"{action} at {self.now_s}"
            self.ordered = action
        elif isinstance(action, LockClocks):
            self.locks = action

    def may_be_locked(self) -> bool:
        return not any(self.locked_hz) or any(self.locked_hz == tuple(grant.clocks_hz) for grant in self.running(Mode.MODE_AUTO))

    def allowed(self, limits_w: tuple[float, ...]) -> bool:
        if self.limiter.mode != Mode.MODE_AUTO:
            return limits_w == DEFAULTS
        return limits_w == FLOORS or any(
            limits_w == tuple(min(max(w, 100.0), DEFAULT_W) for w in grant.limits_w) for grant in self.running(Mode.MODE_AUTO)
        )

    def running(self, mode: "Mode.ValueType") -> list[Grant]:
        return [g for g, _ in self.genuine if g.mode == mode and self.now_s < g.echo_stamp_s + g.lease_s]

    def tick(self, power_w: float = 300.0) -> None:
        self.tell(PowerRead((power_w, power_w)))
        if self.ordered is not None:
            assert self.allowed(self.ordered.limits_w), f"{self.ordered} still stands at {self.now_s}"
        while self.locks is not None:
            self.locked_hz, self.locks = self.locks.clocks_hz, None
            self.tell(ClocksLocked(self.locked_hz, ("", "")))
        assert self.may_be_locked(), f"{self.locked_hz} still stands at {self.now_s}"

    def grant(
        self, limit_w: float, lease_s: float, epoch: int, controller: str, age: int, mode: "Mode.ValueType" = Mode.MODE_AUTO,
        key: bytes = KEY, *, withheld: bool = False,
    ) -> None:
        self.sequence += 1
        grant = Grant(
            version=1, node="n1", epoch=epoch, controller_id=controller, sequence=self.sequence, echo_limiter_start="s1",
            echo_stamp_s=self.reports[-1 - age % len(self.reports)].stamp_s, lease_s=lease_s, limits_w=[limit_w] * 2,
            mode=mode, clocks_hz=[limit_w * 2e6] * 2 if limit_w > 300.0 else (),
        )
        sealed = seal(key, Way.DOWN, "n1", grant.SerializeToString())
        if key == KEY:
            self.genuine.append((grant, sealed))
        if not withheld:
            self.tell(Directive(sealed))


watts = st.floats(50.0, 900.0)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0.05, 3.0)),
        st.tuples(
            st.sampled_from(("grant", "withhold")), watts, st.floats(0.5, 10.0), st.integers(1, 6), st.sampled_from("ab"),
            st.integers(0, 3), st.sampled_from((*MODES, Mode.MODE_AUTO)),
        ),
        st.tuples(st.just("forge"), watts),
        st.tuples(st.just("flip"), st.integers(0, 1000)),
        st.tuples(st.just("replay"), st.integers(0, 1000)),
        st.tuples(st.just("obey")),
        st.tuples(st.just("foreign"), watts),
        st.tuples(st.just("reload")),
        st.tuples(st.just("hang")),
        st.tuples(st.just("disobey")),
    ),
    max_size=40,
)


def play(trial: Trial, what: str, *with_: float) -> None:
    match what:
        case "wait":
            trial.now_s += with_[0]
        case "grant" | "withhold":
            limit_w, lease_s, epoch, controller, age, mode = with_
            withheld = what == "withhold"
            trial.grant(limit_w, lease_s, int(epoch), str(controller), int(age), MODES[MODES.index(mode)], withheld=withheld)  # type: ignore[arg-type]  # a script's numbers
        case "forge":
            trial.grant(with_[0], 10.0, 9, "a", 0, key=bytes(32))
        case "flip" if trial.genuine:
            sealed = bytearray(trial.genuine[-1][1])
            sealed[int(with_[0]) % len(sealed)] ^= 1
            trial.tell(Directive(bytes(sealed)))
        case "replay" if trial.genuine:
            replay(trial, *trial.genuine[int(with_[0]) % len(trial.genuine)])
        case "obey":
            trial.driver_w = trial.ordered.limits_w if trial.ordered is not None else trial.driver_w
            read_back(trial, ordered=True)
        case "foreign":
            trial.driver_w = (with_[0], with_[0])
            read_back(trial, ordered=False)
        case "reload":
            trial.loads, trial.driver_w = trial.loads + 1, (DEFAULT_W, DEFAULT_W)
            read_back(trial, ordered=False)
        case "hang":
            trial.tell(DriverHung("set"))
        case "disobey":
            for _ in range(25):
                trial.now_s += 0.1
                trial.tick(690.0)


def replay(trial: Trial, grant: Grant, sealed: bytes) -> None:
    """What has been obeyed, and what is older than that, orders nothing any more."""
    before, obeyed = trial.ordered, trial.limiter.lease
    trial.tell(Directive(sealed))
    if obeyed is not None and (grant.epoch, grant.sequence) <= (obeyed.grant.epoch, obeyed.grant.sequence):
        assert trial.ordered is before


def read_back(trial: Trial, *, ordered: bool) -> None:
    trial.tell(LimitsRead(tuple(CardState(w, w) for w in trial.driver_w), trial.loads, ordered))


@settings(max_examples=300)
@given(steps)
@example([("withhold", 400.0, 2.0, 3, "a", 0, Mode.MODE_OBSERVE), ("wait", 2.5), ("replay", 0)])
def test_no_limit_above_the_floor_is_ordered_or_left_without_a_lease_that_runs(script: list[tuple[str, ...]]) -> None:
    trial = Trial()
    trial.tick()
    for step in script:
        play(trial, *step)  # type: ignore[arg-type]  # a script's numbers
        trial.tick()


@settings(max_examples=100)
@given(steps)
def test_once_all_falls_silent_an_obeying_driver_is_at_the_floor_and_confirmed(script: list[tuple[str, ...]]) -> None:
    trial = Trial()
    trial.tick()
    for step in script:
        play(trial, *step)  # type: ignore[arg-type]  # a script's numbers
        trial.tick()
    for _ in range(130):  # the longest lease, and settling
        trial.now_s += 0.1
        trial.tick(150.0)
        play(trial, "obey")
    if trial.limiter.mode == Mode.MODE_AUTO:
        assert trial.driver_w == FLOORS
        assert trial.reports[-1].confirmed_for_s > 1.0 and not trial.reports[-1].driver_hung
    else:
        assert trial.ordered is None or trial.ordered.limits_w == DEFAULTS
