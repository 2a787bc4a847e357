"""What the tests of the agent's way to the driver share."""

from collections.abc import Iterator

import pytest
from fakes.nvml.steer import FakeNode

from gpuwarden.agent.limiter.cards import Cards


@pytest.fixture
def cards(node: FakeNode) -> Iterator[Cards]:
    opened = Cards()
    yield opened
    opened.close()
