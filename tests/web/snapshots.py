"""Snapshots as a controller would give them, for the page's and the terminal's tests and pictures. Same seed, same snapshot."""

import math
import random
from dataclasses import dataclass, field

from gpuwarden.proto.control_pb2 import (
    Action,
    GetClusterResponse,
    Node,
    NodeState,
    PowerDomain,
    WatchResponse,
)
from gpuwarden.proto.finding_pb2 import Evidence, Finding, FindingState, Severity, Subject, SubjectKind, Trend
from gpuwarden.proto.lease_pb2 import CardReport, Mode

START_NS = 1_790_000_000_000_000_000
GPUS = 8
DEFAULT_W, FLOOR_W, BASE_W = 700.0, 300.0, 1900.0
LIVE, STALE, HUNG, UNKNOWN = (
    NodeState.NODE_STATE_LIVE,
    NodeState.NODE_STATE_STALE,
    NodeState.NODE_STATE_HUNG,
    NodeState.NODE_STATE_UNKNOWN,
)


@dataclass(frozen=True)
class Scene:
    nodes: int = 8
    mode: "Mode.ValueType" = Mode.MODE_AUTO
    # Row power over budget.
    load: float = 0.82
    # By node number; who is not named is live.
    states: "dict[int, NodeState.ValueType]" = field(default_factory=dict)
    findings: int = 0
    domains: int = 1
    names: tuple[str, ...] = ()


SCENES = {
    "eight": Scene(),
    "sixty-four": Scene(64, load=0.93, findings=1),
    "findings": Scene(64, load=0.88, findings=5, states={11: STALE, 12: STALE, 37: HUNG, 63: UNKNOWN}),
    "observe": Scene(8, Mode.MODE_OBSERVE, 0.71, findings=1),
    "over": Scene(16, load=1.06, findings=2),
    "thousand": Scene(1000, load=0.95, findings=12, states={n: STALE for n in range(40, 52)} | {777: HUNG}, domains=4),
}


def snapshot(scene: Scene, second: float = 0.0, seed: int = 7) -> WatchResponse:
    """The scene as it stands `second` seconds after its start."""
    nodes, still = _all_nodes(scene, second, seed), _all_nodes(scene, 0.0, seed)
    domains = [_domain(scene, number, nodes, still) for number in range(scene.domains)]
    findings = [_finding(number, nodes) for number in range(scene.findings)]
    for finding in findings:
        next(node for node in nodes if node.name == finding.subject.node).firing += 1
    unix_ns = START_NS + int(second * 1e9)
    cluster = GetClusterResponse(
        controller_id="row-a-controller",
        controller_version="0.1.0",
        epoch=7,
        unix_ns=unix_ns,
        domains=domains,
        node_count=len(nodes),
        live_count=sum(node.state == LIVE for node in nodes),
        stale_count=sum(node.state == STALE for node in nodes),
        firing_count=len(findings),
    )
    return WatchResponse(cluster=cluster, nodes=nodes, findings=findings, actions=_actions(scene, nodes, domains[0]))


def _all_nodes(scene: Scene, second: float, seed: int) -> list[Node]:
    chance = random.Random(f"{seed} {scene.nodes}")
    return [_node(scene, number, second, chance) for number in range(scene.nodes)]


def domain_name(number: int) -> str:
    return f"row-{'abcdefghijklmnopqrstuvwxyz'[number]}"


def _node(scene: Scene, number: int, second: float, chance: random.Random) -> Node:
    busy, phase = chance.uniform(0.35, 1.0), chance.uniform(0, 6)
    state = scene.states.get(number, LIVE)
    auto = scene.mode == Mode.MODE_AUTO
    low_priority = number % 5 == 3
    limit_w = DEFAULT_W if not auto else 430.0 if low_priority else 610.0 if number % 3 else DEFAULT_W
    if state == STALE and auto:
        limit_w = FLOOR_W
    if state in (HUNG, UNKNOWN):
        limit_w = DEFAULT_W
    wave = 1 + 0.04 * math.sin(second / 9 + phase)
    card_w = min(limit_w * 0.995, 120 + 580 * busy * wave)
    if state in (UNKNOWN, HUNG):
        card_w = math.nan
    name = scene.names[number] if number < len(scene.names) else f"node-{number:0{len(str(scene.nodes - 1))}d}"
    return Node(
        name=name,
        state=state,
        domain=domain_name(number * scene.domains // scene.nodes),
        gpu_count=GPUS,
        gpu_power_w=card_w * GPUS,
        power_w=BASE_W + 1.1 * (limit_w if math.isnan(card_w) else card_w) * GPUS,
        granted_w=limit_w * GPUS,
        enforced_w=math.nan if state == UNKNOWN else limit_w * GPUS,
        default_w=DEFAULT_W * GPUS,
        floor_w=FLOOR_W * GPUS,
        counted_w=BASE_W + 1.1 * 1.05 * (limit_w if state == LIVE else DEFAULT_W) * GPUS,
        report_age_s={LIVE: 0.4, STALE: 47.0, HUNG: 0.6}.get(state, math.inf),
        lease_ends_in_s=4.6 if state == LIVE and auto else 0.0 if state == STALE else math.inf,
        mode=Mode.MODE_UNSPECIFIED if state == UNKNOWN else scene.mode,
        cards=[_card(name, index, card_w, limit_w, state) for index in range(GPUS if state != UNKNOWN else 0)],
        reason="" if state == UNKNOWN else _reason(scene, limit_w, low_priority),
    )


def _card(name: str, index: int, card_w: float, limit_w: float, state: "NodeState.ValueType") -> CardReport:
    return CardReport(
        uuid=f"GPU-{abs(hash((index,))) % 10**8:08d}-{index}",
        power_w=card_w,
        default_w=DEFAULT_W,
        min_w=200.0,
        max_w=DEFAULT_W,
        requested_w=limit_w,
        enforced_w=limit_w,
    )


def _reason(scene: Scene, limit_w: float, low_priority: bool) -> str:
    """As the controller words it; a node that it has never granted anything has none."""
    if scene.mode != Mode.MODE_AUTO:
        return "capped to 612 W a GPU: polca"
    if limit_w == DEFAULT_W:
        return "raised to the driver's default of 700 W a GPU: row-a can carry it"
    policy = "polca, low priority first" if low_priority else "polca"
    return f"capped to {limit_w:.0f} W a GPU: row-a at {scene.load:.1%} of its budget, {policy}"


def _domain(scene: Scene, number: int, nodes: list[Node], still: list[Node]) -> PowerDomain:
    mine = [node for node in nodes if node.domain == domain_name(number)]
    power_w = sum(node.power_w for node in mine)
    still_w = sum(node.power_w for node in still if node.domain == domain_name(number))
    live = sum(node.state == LIVE for node in mine)
    capped = sum(node.granted_w < node.default_w for node in mine)
    budget_w = round(still_w / (scene.load - 0.03 * number), -2)
    return PowerDomain(
        name=domain_name(number),
        rating_w=round(budget_w * 1.04, -2),
        budget_w=budget_w,
        mode=scene.mode,
        power_w=power_w,
        counted_w=min(budget_w * 0.985, power_w * 1.09) if scene.load < 1 else power_w * 1.05,
        floors_w=len(mine) * (BASE_W + 1.1 * FLOOR_W * GPUS),
        heat_ratio=0.62 if scene.load > 1 else max(0.02, scene.load - 0.6),
        node_count=len(mine),
        live_count=live,
        sentence=f"{live} of {len(mine)} nodes in contact, {capped} capped below the driver's default",
    )


FINDINGS = (
    (
        "fail-slow",
        Severity.SEVERITY_CRITICAL,
        SubjectKind.SUBJECT_KIND_GPU,
        "GPU 5 computes 23 % slower than its 63 peers at the same power cap",
        "drain the node after the next checkpoint and run the memory test",
        [Evidence(name="step time", value=1.61, expected=1.31, unit="s"), Evidence(name="clock", value=1185, expected=1755, unit="MHz")],
    ),
    (
        "link-flapping",
        Severity.SEVERITY_WARNING,
        SubjectKind.SUBJECT_KIND_LINK,
        "InfiniBand port mlx5_2/1 went down 4 times in ten minutes",
        "reseat or replace the cable at leaf-3 port 17",
        [Evidence(name="link downs", value=4, expected=0, unit="in 10 min")],
    ),
    (
        "temperature-drift",
        Severity.SEVERITY_WARNING,
        SubjectKind.SUBJECT_KIND_NODE,
        "Runs 9 °C hotter than its model of healthy days, load alike",
        "check the fans and the air filter",
        [Evidence(name="GPU temperature", value=81.4, expected=72.3, unit="°C"), Evidence(name="score", value=6.2, expected=2.5, unit="")],
    ),
    (
        "driver-hung",
        Severity.SEVERITY_CRITICAL,
        SubjectKind.SUBJECT_KIND_NODE,
        "The driver has not answered for 41 s",
        "restart the node once its job is requeued",
        [Evidence(name="silence", value=41, unit="s")],
    ),
    (
        "ecc-trend",
        Severity.SEVERITY_INFO,
        SubjectKind.SUBJECT_KIND_GPU,
        "Corrected memory errors grow faster than on other cards",
        "none yet; replace at the next maintenance",
        [Evidence(name="errors", value=118, expected=3, unit="a day")],
    ),
)


def _finding(number: int, nodes: list[Node]) -> Finding:
    kind, severity, subject_kind, summary, suggested, evidence = FINDINGS[number % len(FINDINGS)]
    node = nodes[(number * 13 + 5) % len(nodes)]
    ids = {SubjectKind.SUBJECT_KIND_GPU: "GPU-5b1f0c2e", SubjectKind.SUBJECT_KIND_LINK: "mlx5_2/1"}
    since_ns = START_NS - (number + 1) * 217_000_000_000
    return Finding(
        version=1,
        id=f"{number:08x}",
        kind=kind,
        subject=Subject(kind=subject_kind, node=node.name, id=ids.get(subject_kind, "")),
        state=FindingState.FINDING_STATE_FIRING,
        severity=severity,
        score=4.2,
        evidence=evidence,
        summary=summary,
        suggested_action=suggested,
        detector="peers",
        detector_version="0.1.0",
        since_unix_ns=since_ns,
        updated_unix_ns=START_NS,
        trend=_trend(since_ns) if kind == "temperature-drift" else None,
    )


def _trend(until_unix_ns: int) -> Trend:
    """Of a fan that fails in the last ten minutes; the node was silent for four of the hour."""
    values = [0.9 + 0.3 * math.sin(minute / 4) + max(0, minute - 49) * 0.5 for minute in range(60)]
    values[22:26] = [math.nan] * 4
    return Trend(name="score", values=values, threshold=2.5, until_unix_ns=until_unix_ns)


def _actions(scene: Scene, nodes: list[Node], domain: PowerDomain) -> list[Action]:
    """Newest first, as the controller keeps them: without ids, and many at one moment."""
    low = [node.name for node in nodes[3::5]] or [nodes[0].name]
    budget_kw = domain.budget_w / 1e3
    row = f"row-a draws up to {domain.power_w / 1e3:,.1f} of {budget_kw:,.1f} kW"
    lines = [
        ("cap", low, f"capped to 430 W a GPU: {row}, polca"),
        ("cap", [nodes[-1].name], "raised to the driver's default of 700 W a GPU: row-a can carry it"),
        ("notify", ["row-a"], "warning: 2 nodes of row-a are silent"),
        ("floor", [nodes[5 % len(nodes)].name], "to the floor of 300 W a GPU: row-a may draw more than its budget until its leases have ended"),
        ("budget", ["row-a"], f"budget set from {budget_kw + 8:,.1f} to {budget_kw:,.1f} kW"),
        ("epoch", ["row-a-controller"], "gpuwarden 0.1.0 started"),
    ]
    return [
        _line(scene, age, kind, subject, reason) for age, (kind, subjects, reason) in enumerate(lines) for subject in subjects
    ]


def _line(scene: Scene, age: int, kind: str, subject: str, reason: str) -> Action:
    return Action(
        epoch=7,
        unix_ns=START_NS - age * 41_000_000_000,
        kind=kind,
        subject=subject,
        performed=scene.mode == Mode.MODE_AUTO or kind not in ("cap", "floor"),
        reason=reason,
        evidence=[Evidence(name="limit before", value=5600, unit="W"), Evidence(name="limit", value=3440, unit="W")]
        if kind in ("cap", "floor")
        else [],
        actor="ada" if kind == "budget" else "controller",
    )
