"""Floors of single jobs, on an operator's or a prolog's word: checked, written down, remembered, answered. The same request twice has one effect."""

import math
from collections.abc import Iterable, Iterator, Mapping

from gpuwarden.controller.answered import Answered, Refusal
from gpuwarden.controller.events import Action, EndJobFloor, RememberJobFloor, Reply, SetJobFloor, WriteLedger
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.power.hostlist import BadHostlist, expand
from gpuwarden.controller.power.keeper import Keeper
from gpuwarden.controller.power.least import JobFloor, least_of, least_problems
from gpuwarden.core.machine import Level, Say
from gpuwarden.proto import control_pb2 as pb

LONGEST_S = 60 * 86_400.0
MOST_FLOORS = 4096


class JobFloors:
    """Changes what policies leave whom; never what the allocator grants beyond what holds."""

    def __init__(self, keepers: Mapping[str, Keeper], remembered: Iterable[JobFloor], lines: Lines) -> None:
        self._keepers, self._lines = keepers, lines
        self._domain_of = {node.name: keeper for keeper in keepers.values() for node in keeper.nodes}
        self._floors = {floor.job: floor for floor in remembered}
        self._answered = Answered[SetJobFloor | EndJobFloor]()
        self._keep(self._floors.values())

    def answer(self, request: SetJobFloor | EndJobFloor) -> list[Action]:
        return self._answered.answer(request, self._set(request) if isinstance(request, SetJobFloor) else self._end(request))

    def opening(self) -> Iterator[Action]:
        """What is remembered and cannot be kept."""
        for keeper in self._keepers.values():
            if (count := len(keeper.wishing.least.floors)) and not keeper.wishing.policy.keeps_floors:
                said = f"{keeper.config.name}: policy {keeper.config.policy} knows no floors of jobs: {count} are remembered and not kept"
                yield Say(said, Level.WARNING)

    def tick(self) -> Iterator[Action]:
        """Ends those whose time is over."""
        for floor in [floor for floor in self._floors.values() if floor.until_unix_ns <= self._lines.unix_ns]:
            yield from self._ended(floor, "over", "controller")

    def _set(self, request: SetJobFloor) -> Iterator[Action]:
        floor = self._floor(request)
        made = floor_shown(floor)
        if not request.validate_only:
            why = f"{len(floor.nodes)} nodes keep {floor.floor_w:g} W a GPU for {request.duration_s:,.0f} s"
            yield WriteLedger((self._lines.line("job-floor", floor.job, why, actor=request.actor),))
            yield RememberJobFloor(floor.job, made.SerializeToString())
            self._floors[floor.job] = floor
            self._keep([floor])
        yield Reply(request.token, pb.SetJobFloorResponse(floor=made).SerializeToString())

    def _end(self, request: EndJobFloor) -> Iterator[Action]:
        if (floor := self._floors.get(request.job)) is None:
            raise Refusal("NOT_FOUND", "NO_SUCH_FLOOR", "job", f"job: {request.job!r} keeps nothing; see gpuwarden floor")
        yield from self._ended(floor, "ended", request.actor)
        yield Reply(request.token, pb.EndJobFloorResponse(floor=floor_shown(floor)).SerializeToString())

    def _ended(self, floor: JobFloor, how: str, actor: str) -> Iterator[Action]:
        yield WriteLedger((self._lines.line("job-floor", floor.job, f"{how}: {floor.floor_w:g} W a GPU for {len(floor.nodes)} nodes", actor=actor),))
        yield RememberJobFloor(floor.job, None)
        del self._floors[floor.job]
        self._keep([floor])

    def _keep(self, changed: Iterable[JobFloor]) -> None:
        for keeper in self._of(node for floor in changed for node in floor.nodes):
            keeper.wishing.least = least_of(keeper.tree, self._floors.values())

    def _of(self, nodes: Iterable[str]) -> list[Keeper]:
        """A node that is in no domain any more is passed over."""
        names = {self._domain_of[node].config.name for node in nodes if node in self._domain_of}
        return [keeper for name, keeper in self._keepers.items() if name in names]

    def _floor(self, request: SetJobFloor) -> JobFloor:
        if not request.job.strip():
            raise Refusal("INVALID_ARGUMENT", "NO_JOB", "job", "job: is empty")
        if not (math.isfinite(request.duration_s) and 0 < request.duration_s <= LONGEST_S):
            raise Refusal("INVALID_ARGUMENT", "BAD_DURATION", "duration_s", f"duration_s: should be above 0 and at most {LONGEST_S:,.0f}")
        if request.job not in self._floors and len(self._floors) >= MOST_FLOORS:
            raise Refusal("RESOURCE_EXHAUSTED", "TOO_MANY_FLOORS", "", f"{MOST_FLOORS} jobs have floors already; end some")
        until_ns = self._lines.unix_ns + round(request.duration_s * 1e9)
        floor = JobFloor(request.job, self._known(request.nodes), request.floor_w, until_ns, request.actor)
        for keeper in self._of(floor.nodes):
            self._check(keeper, floor)
        return floor

    def _known(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        try:
            names = tuple(expand(patterns))
        except BadHostlist as why:
            raise Refusal("INVALID_ARGUMENT", "BAD_HOSTLIST", "nodes", f"nodes: {why}") from None
        if not names:
            raise Refusal("INVALID_ARGUMENT", "NO_NODES", "nodes", "nodes: are none")
        if strange := [name for name in names if name not in self._domain_of]:
            raise Refusal("NOT_FOUND", "UNKNOWN_NODE", "nodes", f"nodes: {', '.join(strange[:5])} in no power domain of this controller")
        return names

    def _check(self, keeper: Keeper, floor: JobFloor) -> None:
        if not keeper.wishing.policy.keeps_floors:
            said = f"nodes: {keeper.config.name} has policy {keeper.config.policy}, which knows no floors of jobs"
            raise Refusal("FAILED_PRECONDITION", "POLICY_KNOWS_NO_FLOORS", "nodes", said)
        for made in {node.made.name: node.made for node in keeper.nodes if node.name in set(floor.nodes)}.values():
            if not made.floor_w < floor.floor_w <= made.default_w:
                said = f"floor_w: is {floor.floor_w:g} W, should be above {made.floor_w:g} and at most {made.default_w:g} W for class {made.name!r}"
                raise Refusal("INVALID_ARGUMENT", "BAD_FLOOR", "floor_w", said)
        least = least_of(keeper.tree, ({**self._floors, floor.job: floor}).values())
        if problem := next(least_problems(keeper.tree, keeper.loads.ratings_w, least), None):
            raise Refusal("FAILED_PRECONDITION", "FLOORS_DO_NOT_FIT", "floor_w", f"floor_w: {problem}")


def floor_shown(floor: JobFloor) -> pb.JobFloor:
    """As the API tells it."""
    return pb.JobFloor(job=floor.job, nodes=floor.nodes, floor_w=floor.floor_w, until_unix_ns=floor.until_unix_ns, actor=floor.actor)


def floor_of(payload: bytes) -> JobFloor:
    """As it was remembered."""
    made = pb.JobFloor.FromString(payload)
    return JobFloor(made.job, tuple(made.nodes), made.floor_w, made.until_unix_ns, made.actor)
