"""`gpuwarden explain cap`: of nodes that obey a real controller's machine, and of a controller that has heard of nobody."""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.limiters import KEY, Limiter, Row

from gpuwarden.cli.explain import explained
from gpuwarden.cli.main import main
from gpuwarden.cli.sparkline import sparkline
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.events import Publish
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.address import Address
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.core.version import VERSION
from gpuwarden.detector.findings import Claim, Findings
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Evidence, Finding, Subject, Trend

NODES = ("n0", "n1", "n2", "n3")
RACKS = (LimitConfig("rack-0", 14e3, nodes=("n[0-1]",), dead_nodes=0), LimitConfig("rack-1", 20e3, nodes=("n[2-3]",), dead_nodes=0))
DOMAIN = DomainConfig("row-a", 40e3, (NodeClass("h100", NODES),), mode="auto", dead_nodes=0, limits=RACKS)


def said_of(node: str, demand_w: float, domain: DomainConfig = DOMAIN, seconds: float = 15.0) -> str:
    setup = ControllerSetup("c1", 0, (domain,), (), Timing(5.0, 3.0, 2.5))
    row = Row(Controller(setup, dict.fromkeys(NODES, KEY)), [Limiter(name, demand_w=demand_w, clock_max_hz=1.98e9) for name in NODES])
    row.connect()
    row.run(seconds)
    seen = [action for action in row.done if isinstance(action, Publish)][-1].snapshot
    (of,) = (shown for shown in seen.nodes if shown.name == node)
    return "\n".join(explained(of, seen.cluster.domains[0]))


def test_the_rack_that_binds_a_node_is_named_with_its_sums() -> None:
    said = said_of("n0", 5000.0)
    assert "n0: 8 GPUs at " in said and "the driver's default 700 W" in said
    assert "rack-0 draws up to" in said and "fair-share" in said
    assert "rack-0  14.0 kW" in said and "row-a   40.0 kW" in said and "rack-1" not in said
    assert "the lease runs" in said


def test_a_node_that_nothing_binds_is_told_so() -> None:
    said = said_of("n2", 1000.0)
    assert "8 GPUs at 700 W each" in said
    assert "to the driver's default" in said and "rack-1" not in said


def test_what_a_policy_did_is_said_with_its_thresholds() -> None:
    classes = (NodeClass("low", NODES[:2], priority="low"), NodeClass("high", NODES[2:]))
    domain = DomainConfig("row-a", 30e3, classes, mode="auto", dead_nodes=0, policy="headroom")
    said = said_of("n0", 5000.0, domain, 40.0)
    assert "why:      " in said and "headroom: at " in said and "priorities give" in said
    assert "clocks:   clocks locked to " in said
    assert "clocks:" not in said_of("n3", 1000.0, domain, 40.0)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def run(tmp_path: Path, bus: MemoryBus) -> Iterator[Callable[..., int]]:
    config = ControllerConfig(ledger_file=tmp_path / "ledger.sqlite", keys_dir=tmp_path, domains=(DOMAIN,), listen=Address("127.0.0.1", 0))
    with ControllerShell(config, dict.fromkeys(NODES, KEY), lambda stop: bus) as shell:
        until_s = time.monotonic() + 20.0
        while shell.board.newest() is None:
            assert time.monotonic() < until_s, "the controller has published nothing"
            time.sleep(0.05)
        yield lambda *words: main([*words, "--server", str(shell.address)])


def test_a_node_that_nobody_has_heard_of(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "cap", "n1") == 0
    assert "nothing was heard of its limiter" in capsys.readouterr().out
    assert run("explain", "cap", "n1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["node"]["name"] == "n1"


def test_a_node_in_no_domain(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "cap", "gpu1") == 1
    assert "no node 'gpu1' in any power domain" in capsys.readouterr().err


def test_a_trend_of_which_little_or_nothing_is_known() -> None:
    assert sparkline([math.nan, 2.0], 2.0) == (" ▁", "▁")
    assert sparkline([math.nan], 2.0) == (" ", "▁")
    assert sparkline([1.0, 2.0, 2.0001], 2.0) == ("▁▇█", "▇")


def test_a_finding_with_what_was_seen_and_what_was_expected(
    run: Callable[..., int], bus: MemoryBus, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = (Evidence(name="slowest chassis fan", value=2010.0, expected=8012.0, unit="rpm"), Evidence(name="GPUs read", value=8))
    trend = Trend(name="score", values=[1.0, 1.0, 1.5, math.nan, 2.0, 2.5, 9.0], threshold=2.5, until_unix_ns=1_700_000_000 * 10**9)
    claim = Claim("node_unlike_itself", Subject(node="n1"), 1, 2.5, "the node is not as it has been", "Look at it.", "health/conditional", evidence, trend)
    firing = Findings()
    published = firing.fire(claim, 1_700_000_000 * 10**9)
    (resolved,) = firing.resolve(claim.key, 1_700_000_600 * 10**9)
    finding = Finding.FromString(published.payload)
    producer = bus.producer()
    for one in (published, resolved):
        producer.send(topics.FINDINGS, one.key, one.payload)
    until_s = time.monotonic() + 20.0
    while run("explain", "finding", finding.id[:8]) or "resolved" not in (said := capsys.readouterr().out):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    assert said.splitlines() == [
        "node_unlike_itself on n1, info: the node is not as it has been",
        "since:    2023-11-14 22:13:20 UTC, resolved 2023-11-14 22:23:20 UTC",
        f"said by:  health/conditional {VERSION}, score 2.5",
        "trend:    22:07 ▁▁▁ ▂▂█ 22:13 UTC",
        "          score: 9 at last; above 2.5, which is ▂, it is a finding",
        "do:       Look at it.",
        "",
        "WHAT                      SEEN   EXPECTED",
        "slowest chassis fan  2,010 rpm  8,012 rpm",
        "GPUs read                    8",
    ]
    assert run("explain", "finding", finding.id, "--json") == 0
    assert json.loads(capsys.readouterr().out)["evidence"][0]["expected"] == 8012.0
    assert run("explain", "finding", "0000") == 1
    assert "no finding '0000': the controller knows none with it" in capsys.readouterr().err
