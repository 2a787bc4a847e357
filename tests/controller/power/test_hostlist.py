"""Node names as Slurm writes them."""

import re

import pytest

from gpuwarden.controller.power.hostlist import MAX_NODES, BadHostlist, expand, split


def test_a_range_keeps_its_zeros() -> None:
    assert expand(["gpu[08-11]", "login"]) == ("gpu08", "gpu09", "gpu10", "gpu11", "login")


@pytest.mark.parametrize("bad", ["gpu[3-1]", "gpu[a-b]", "gpu[1-", "gpu[1,]", "gpu[]", "r[1-2]n[1-2", ""])
def test_what_is_no_range_is_refused_by_name(bad: str) -> None:
    with pytest.raises(BadHostlist, match=re.escape(repr(bad))):
        expand([bad])


def test_the_same_node_twice_is_refused() -> None:
    with pytest.raises(BadHostlist, match="gpu2"):
        expand(["gpu[1-3]", "gpu2"])


def test_brackets_hold_lists_and_there_may_be_several() -> None:
    assert expand(split("r[1-2]n[09,11-12],login")) == ("r1n09", "r1n11", "r1n12", "r2n09", "r2n11", "r2n12", "login")
    assert split("") == []


def test_more_than_may_be_are_refused_before_they_are_all_made() -> None:
    with pytest.raises(BadHostlist, match=f"more than {MAX_NODES}"):
        expand(["a[1-9999]b[1-9999]c[1-9999]"])


@pytest.mark.parametrize("bad", ["a[" + "9" * 5000 + "]", "a" + "[1]" * 5000])
def test_what_is_written_to_harm_is_refused(bad: str) -> None:
    with pytest.raises(BadHostlist):
        expand([bad])
