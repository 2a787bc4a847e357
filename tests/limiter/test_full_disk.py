"""A limiter that cannot write its state file: the floor at once, said once, and all as before when there is room again."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from limiter.test_limiter_machine import DEFAULT_W, FLOOR_W, Node

from gpuwarden.agent.limiter.agent_socket import AgentSocket
from gpuwarden.agent.limiter.config import LimiterConfig
from gpuwarden.agent.limiter.driver import Driver
from gpuwarden.agent.limiter.events import Action, Event, Remember, RememberFailed, SetLimits
from gpuwarden.agent.limiter.main import _Performer
from gpuwarden.core.service import Unperformed
from gpuwarden.proto.lease_pb2 import Mode

SAYS = "state_file: no room: no limit above the floor is set until it can be written"


@dataclass
class NodeOnADisk(Node):
    """As the limiter's process does: what is remembered already costs no write, and what fails ends its list."""

    full: bool = False
    remembered: Remember | None = None

    def perform(self, actions: list[Action]) -> list[Action]:
        for number, action in enumerate(actions):
            if isinstance(action, Remember) and action != self.remembered:
                if self.full:
                    super().perform(actions[:number])
                    return self.perform(self.limiter.step(self.now_s, RememberFailed("no room")))
                self.remembered = action
        return super().perform(actions)


def at_500_w() -> NodeOnADisk:
    node = NodeOnADisk()
    node.run(0.2)
    node.grant()
    node.run(1.2)
    assert node.limits_w == (500.0, 500.0)
    node.full = True
    return node


def test_a_cut_that_cannot_be_remembered_is_the_floor_at_once() -> None:
    node = at_500_w()
    node.grant(400.0, epoch=6)
    assert node.limits_w == (FLOOR_W, FLOOR_W)


def test_as_long_as_the_disk_is_full_it_is_said_once_and_the_driver_left_alone() -> None:
    node = at_500_w()
    before = len(node.done)
    for _ in range(20):
        node.grant(400.0, epoch=6)
        node.run(1.0)
    assert node.said().count(SAYS) == 1
    assert sum(isinstance(action, SetLimits) for action in node.done[before:]) == 1
    report = node.reports()[-1]
    assert report.confirmed_for_s > 0 and not report.HasField("applied")
    assert [card.enforced_w for card in report.cards] == [FLOOR_W, FLOOR_W]


def test_with_room_again_the_next_grant_is_obeyed_and_another_failure_is_said_again() -> None:
    node = at_500_w()
    node.grant(400.0, epoch=6)
    node.run(1.0)
    node.full = False
    node.grant(400.0, epoch=6)
    assert node.limits_w == (400.0, 400.0)
    node.run(1.2)
    node.full = True
    node.grant(400.0, epoch=7)
    node.grant(300.0, epoch=7)
    assert node.limits_w == (FLOOR_W, FLOOR_W)
    assert node.said().count(SAYS) == 2


def test_limits_are_given_back_only_once_that_is_remembered() -> None:
    node = at_500_w()
    node.grant(mode=Mode.MODE_OBSERVE)
    node.run(20.0)
    assert node.limits_w == (500.0, 500.0)
    assert node.said().count(SAYS) == 1
    node.full = False
    node.run(1.0)
    assert node.limits_w == (DEFAULT_W, DEFAULT_W)


def test_the_process_tells_the_machine_why_and_ends_the_list(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="ascii")
    config, told = LimiterConfig(tmp_path / "key", FLOOR_W, state_file=tmp_path / "file" / "state"), list[Event]()
    performer = _Performer(cast("AgentSocket", None), cast("Driver", None), config, told.append)
    with pytest.raises(Unperformed):
        performer.perform(Remember(5, Mode.MODE_AUTO))
    (failed,) = told
    assert (isinstance(failed, RememberFailed) and "Not a directory" in failed.reason) or "File exists" in failed.reason
