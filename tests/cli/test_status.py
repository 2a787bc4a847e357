"""What `gpuwarden status` says of a controller that runs, of what is wrong, and of none; and what it exits with."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from fakes.limiters import GPUS, KEY
from services.port import free_port

from gpuwarden.cli.main import main
from gpuwarden.cli.plain_text import Ink
from gpuwarden.cli.status_text import status_lines
from gpuwarden.cli.status_wrong import troubles
from gpuwarden.controller import metrics
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.address import Address
from gpuwarden.core.seal import Way, seal
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import AgentServiceStub
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject
from gpuwarden.proto.lease_pb2 import CardReport, Mode, PowerReport, Sealed

LIVE = pb.NodeState.NODE_STATE_LIVE


def report(sequence: int, **more: object) -> Sealed:
    card = CardReport(uuid="GPU", power_w=300, default_w=700, min_w=200, max_w=700, requested_w=700, enforced_w=700)
    made = PowerReport(
        version=1, node="n0", limiter_start="s", sequence=sequence, stamp_s=time.monotonic(), cards=[card] * GPUS, mode=Mode.MODE_OBSERVE,
        floor_w=200.0, limiter_version="0.1.0", driver_loads=1, **more,
    )
    return Sealed.FromString(seal(KEY, Way.UP, "n0", made.SerializeToString()))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[ControllerShell]:
    row = DomainConfig("row-a", 60e3, (NodeClass("h100", ("n0",)),))
    config = ControllerConfig(ledger_file=tmp_path / "ledger", keys_dir=tmp_path, domains=(row,), listen=Address("127.0.0.1", 0))
    with ControllerShell(config, {"n0": KEY}) as running:
        while running.board.newest() is None:
            assert not running.stop.wait(0.02)
        yield running


def reporting(channel: grpc.Channel, shell: ControllerShell, **more: object) -> Iterator[pb.Node]:
    """The node's messages while its limiter reports once a tenth of a second; it ends with the caller."""
    sequence = iter(range(1, 10_000))

    def up() -> Iterator[pb.SessionRequest]:
        yield pb.SessionRequest(hello=pb.Hello(version=1, node="n0", agent_version="0.0.9"))
        while not shell.stop.wait(0.1):
            yield pb.SessionRequest(report=report(next(sequence), **more))

    session = AgentServiceStub(channel).Session(up(), timeout=60)
    next(session)  # the welcome
    while True:
        (node,) = shell.board.newest().nodes
        yield node


def settled(shell: ControllerShell, more: dict[str, object], true: Callable[[pb.Node], bool]) -> pb.Node:
    with grpc.insecure_channel(str(shell.address)) as channel:
        until_s = time.monotonic() + 10
        for node in reporting(channel, shell, **more):
            if true(node):
                return node
            assert time.monotonic() < until_s, node
            time.sleep(0.05)
    raise AssertionError("unreachable")


def test_what_a_limiter_counts_is_in_its_node_and_in_the_metrics(shell: ControllerShell) -> None:
    counted = {"guard_trips": 3, "foreign_changes": 2, "refusals": 4, "refusal": "epoch: is old"}
    node = settled(shell, counted, lambda node: node.counts.guard_trips == 3)
    assert (node.counts.foreign_changes, node.counts.refusals, node.counts.driver_loads) == (2, 4, 1)
    assert (node.agent_version, node.limiter_version, node.refusal) == ("0.0.9", "0.1.0", "epoch: is old")
    families = {family.name: family.samples[0] for family in metrics.REGISTRY.collect() if family.name.startswith("gpuwarden_limiter_")}
    assert families["gpuwarden_limiter_guard_trips"].labels == {"node": "n0"}
    assert {name: sample.value for name, sample in families.items()} == {
        "gpuwarden_limiter_guard_trips": 3.0, "gpuwarden_limiter_foreign_changes": 2.0, "gpuwarden_limiter_refusals": 4.0,
        "gpuwarden_limiter_driver_loads": 1.0, "gpuwarden_limiter_reports_refused": 0.0,
    }


def test_reports_that_the_controller_refuses_are_counted_for_their_node(shell: ControllerShell) -> None:
    node = settled(shell, {"driver_hung": False, "epoch": 2**63}, lambda node: node.counts.reports_refused >= 2)
    assert node.state == pb.NodeState.NODE_STATE_UNKNOWN


def test_a_node_that_is_silent_is_exit_status_1_with_the_line_to_type(
    shell: ControllerShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--controller", str(shell.address)]) == 1
    said = capsys.readouterr().out
    assert "row-a   observe" in said
    assert "wrong  n0: never heard of since the controller started" in said
    assert "next: on n0: systemctl status gpuwarden-limiter gpuwarden-agent" in said
    assert "\x1b" not in said
    assert main(["status", "--controller", str(shell.address), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["nodes"][0]["state"] == "NODE_STATE_UNKNOWN"
    assert all(set(one) == {"wrong", "sentence", "next"} for one in told["troubles"])


def test_no_controller_is_exit_status_2_with_what_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--controller", f"127.0.0.1:{free_port()}"]) == 2
    assert "is it running, is --server its `listen` address" in capsys.readouterr().err


def snapshot(**of_node: object) -> pb.WatchResponse:
    fine = {"name": "n0", "state": LIVE, "domain": "row-a", "mode": Mode.MODE_AUTO, "agent_version": "1", "limiter_version": "1"}
    domain = pb.PowerDomain(name="row-a", power_w=40e3, budget_w=50e3, rating_w=60e3, mode=Mode.MODE_AUTO, decided_age_s=0.1)
    cluster = pb.GetClusterResponse(controller_id="c", controller_version="1", domains=[domain])
    return pb.WatchResponse(cluster=cluster, nodes=[pb.Node(**{**fine, **of_node})])


def test_a_cluster_that_is_well_is_said_to_be() -> None:
    assert list(troubles(snapshot(), alive=True)) == []
    assert list(status_lines(snapshot(), [], Ink(False)))[-1] == "Nothing is wrong."


@pytest.mark.parametrize(
    ("of_node", "wrong", "says", "then"),
    [
        ({"state": pb.NodeState.NODE_STATE_STALE}, True, "n0: silent", "on n0: journalctl -u gpuwarden-agent"),
        ({"state": pb.NodeState.NODE_STATE_HUNG}, True, "n0: no answer from the driver", "on n0: dmesg"),
        ({"mode": Mode.MODE_OBSERVE}, True, "n0: not in auto though the domain is", "on n0: journalctl -u gpuwarden-limiter"),
        ({"refusal": "epoch: is old"}, True, "n0: its limiter refuses: epoch: is old", "on n0: gpuwarden doctor"),
        ({"counts": pb.LimiterCounts(guard_trips=3)}, False, "(guard trips): n0 3", "on n0: journalctl"),
        ({"counts": pb.LimiterCounts(foreign_changes=1)}, False, "somebody else changed limits", "on n0: gpuwarden doctor"),
        ({"limiter_version": "0"}, False, "n0: another version than the controller's 1", "on n0: gpuwarden --version"),
    ],
)
def test_what_is_wrong_with_a_node_has_its_words_and_its_next_line(of_node: dict[str, object], wrong: bool, says: str, then: str) -> None:
    (found,) = troubles(snapshot(**of_node), alive=True)
    assert found.wrong is wrong
    assert says in found.sentence and found.then.startswith(then)


def test_a_domain_over_budget_hot_or_late_and_a_finding_are_wrong() -> None:
    seen = snapshot()
    domain = seen.cluster.domains[0]
    domain.power_w, domain.heat_ratio, domain.decided_age_s, domain.mode = 55e3, 0.9, 7.0, Mode.MODE_NOTIFY
    seen.findings.append(Finding(
        kind="xid", state=FindingState.FINDING_STATE_FIRING, severity=Severity.SEVERITY_CRITICAL, subject=Subject(node="n0"),
        summary="GPU 3 fell off the bus.\x1b[2J", suggested_action="Drain n0.",
    ))
    found = list(troubles(seen, alive=False))
    assert [one.wrong for one in found] == [True] * 5
    said = "\n".join(status_lines(seen, found, Ink(True)))
    for line in (
        "these figures are old", "may draw 55.0 kW", "notify caps nothing", "gpuwarden mode row-a auto", "90 % of its trip heat",
        "was decided 7 s ago", "critical: n0: GPU 3 fell off the bus.\N{REPLACEMENT CHARACTER}[2J", "Drain n0.", "\x1b[31mwrong\x1b[0m",
    ):
        assert line in said, line


def test_of_a_hot_limit_below_the_domains_own_its_name_is_said() -> None:
    seen = snapshot()
    domain = seen.cluster.domains[0]
    domain.heat_ratio = 0.9
    domain.limits.add(name=domain.name, heat_ratio=0.1)
    domain.limits.add(name="rack-7", heat_ratio=0.9, rating_w=1e4)
    domain.limits.add(name="rack-8", heat_ratio=0.95, rating_w=1e4, contingency="feed b lost")
    (found,) = [one for one in troubles(seen, alive=True) if "trip heat" in one.sentence]
    assert found.sentence == f"the breaker of rack-7 in {domain.name} is at 90 % of its trip heat"


def test_it_needs_nothing_that_the_plain_install_lacks() -> None:
    lacking = "import sys; sys.modules.update(dict.fromkeys(('rich', 'numpy', 'httpx', 'starlette', 'grpc_health', 'grpc_status'), None)); "
    code = f"{lacking} from gpuwarden.cli.main import main; sys.exit(main(['status', '--controller', '127.0.0.1:{free_port()}']))"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (asked.returncode, asked.stderr[:42]) == (2, "gpuwarden: no controller answers at 127.0.")
