"""The picture that is published: whole, once a second, and drawn a part at each tick."""

from collections.abc import Iterator
from typing import Any

import pytest
from fakes.limiters import KEY

from gpuwarden.controller import picture
from gpuwarden.controller.events import Publish, Tick
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.proto.control_pb2 import WatchResponse

NODES = tuple(f"n{number:03d}" for number in range(100))


def made(watched: bool) -> Controller:
    rows = [DomainConfig(f"row-{place}", 700e3, (NodeClass("h100", NODES[place * 50 :][:50]),)) for place in range(2)]
    return Controller(ControllerSetup("c1", 0, tuple(rows), (), Timing(5.0, 3.0, 2.5), watched=watched), dict.fromkeys(NODES, KEY))


@pytest.fixture
def controller() -> Controller:
    return made(watched=True)


def published(controller: Controller, period_s: float, seconds: float) -> Iterator[tuple[float, WatchResponse]]:
    for tick in range(round(seconds / period_s)):
        now_s = tick * period_s
        for action in controller.step(now_s, Tick(round(now_s * 1e9))):
            if isinstance(action, Publish):
                yield now_s, action.snapshot


@pytest.mark.parametrize("period_s", [0.05, 0.1, 0.3, 1.0, 5.0])
def test_every_picture_is_whole_and_they_are_about_a_second_apart(controller: Controller, period_s: float) -> None:
    seen = list(published(controller, period_s, 20.0))
    assert seen[0][0] == 0.0
    assert len(seen) == pytest.approx(20.0 / max(period_s, 1.0), rel=0.2)
    for now_s, shown in seen:
        assert tuple(node.name for node in shown.nodes) == NODES
        assert shown.cluster.node_count == 100 and shown.cluster.unix_ns == round(now_s * 1e9)


def test_no_tick_but_the_first_draws_many_nodes(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    def counted(shown: WatchResponse, *given: Any) -> None:
        nonlocal drawn
        before = len(shown.nodes)
        show_nodes(shown, *given)
        drawn += len(shown.nodes) - before

    show_nodes = picture.show_nodes
    monkeypatch.setattr(picture, "show_nodes", counted)
    parts = []
    for tick in range(60):
        controller.step(tick * 0.05, Tick(tick))
        parts.append(drawn)
        drawn = 0
    assert parts[0] == 100 and sum(parts[1:]) >= 200 and max(parts[1:]) <= 6


def test_a_controller_that_nobody_watches_draws_none_and_does_all_else_the_same() -> None:
    watched, unwatched = made(watched=True), made(watched=False)
    for tick in range(100):
        both = [controller.step(tick * 0.1, Tick(tick)) for controller in (watched, unwatched)]
        assert not any(isinstance(action, Publish) for action in both[1])
        assert [action for action in both[0] if not isinstance(action, Publish)] == both[1]
