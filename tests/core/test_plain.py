"""What is written to a log comes back as the same object, and a log names nothing else into being."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.core.plain import Reader, Unknown, to_plain
from gpuwarden.proto.lease_pb2 import Sealed


class Colour(Enum):
    """A choice."""

    RED = 1
    BLUE = 2


@dataclass(frozen=True, slots=True)
class Leaf:
    """A dataclass within."""

    colour: Colour
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """One of everything."""

    name: str
    leaf: Leaf | None
    payload: bytes
    by_number: Mapping[int, str]
    message: Sealed
    path: PurePosixPath


READER = Reader([Colour, Leaf, Tree, Sealed])

trees = st.builds(
    Tree,
    name=st.text(),
    leaf=st.none() | st.builds(Leaf, st.sampled_from(Colour), st.lists(st.floats(allow_nan=False)).map(tuple)),
    payload=st.binary(),
    by_number=st.dictionaries(st.integers(), st.text(), max_size=4),
    message=st.builds(Sealed, node=st.text(st.characters(codec="utf-8")), payload=st.binary()),
    path=st.just(PurePosixPath("/a/b")),
)


@given(trees)
def test_a_value_comes_back_equal_through_json(tree: Tree) -> None:
    assert READER.read(json.loads(json.dumps(to_plain(tree)))) == tree


def test_numbers_that_json_has_not_come_back() -> None:
    leaf = Leaf(Colour.RED, (math.inf, -math.inf, math.nan))
    plain = json.dumps(to_plain(leaf), allow_nan=False)
    back = READER.read(json.loads(plain)).shares
    assert back[:2] == (math.inf, -math.inf) and math.isnan(back[2])


def test_a_type_that_the_reader_was_not_told_of_is_unknown() -> None:
    with pytest.raises(Unknown, match="Leaf"):
        Reader([Colour]).read(to_plain(Leaf(Colour.RED, ())))


@pytest.mark.parametrize(
    "plain",
    [
        {"$": "Leaf"},
        {"$": "Leaf", "colour": 1, "shares": [], "more": 1},
        {"$": ["Leaf"]},
        {"$enum": "Colour", "name": "GREEN"},
        {"$enum": "Colour"},
        {"$message": "Sealed", "bytes": "////"},
        {"$message": "Sealed", "bytes": 1},
        {"$bytes": "not base64!"},
        {"$float": "1e9"},
        {"$map": [[1]]},
        {"$map": [[{"$map": []}, 1]]},
        {"$new": 1},
        {},
        {"a": 1, "b": 2},
    ],
)
def test_what_is_malformed_is_unknown_and_nothing_worse(plain: object) -> None:
    with pytest.raises(Unknown):
        READER.read(plain)


def test_what_has_no_plain_form_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="object has no plain form"):
        to_plain(object())
