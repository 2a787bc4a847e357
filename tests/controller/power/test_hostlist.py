"""Node names as Slurm writes them."""

import re

import pytest

from gpuwarden.controller.power.hostlist import BadHostlist, expand


def test_a_range_keeps_its_zeros() -> None:
    assert expand(["gpu[08-11]", "login"]) == ("gpu08", "gpu09", "gpu10", "gpu11", "login")


@pytest.mark.parametrize("bad", ["gpu[3-1]", "gpu[a-b]", "gpu[1-", ""])
def test_what_is_no_range_is_refused_by_name(bad: str) -> None:
    with pytest.raises(BadHostlist, match=re.escape(repr(bad))):
        expand([bad])


def test_the_same_node_twice_is_refused() -> None:
    with pytest.raises(BadHostlist, match="gpu2"):
        expand(["gpu[1-3]", "gpu2"])
