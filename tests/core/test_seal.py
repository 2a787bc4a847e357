"""A sealed message was made with the node's key, for that node and in that direction, or it is Forged."""

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.core.seal import KEY_BYTES, Forged, Way, seal, unseal
from gpuwarden.proto.lease_pb2 import Sealed

KEY = bytes(range(KEY_BYTES))
OTHER_KEY = bytes(KEY_BYTES)


@given(st.binary(), st.sampled_from(Way), st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_was_sealed_is_unsealed(payload: bytes, way: Way, node: str) -> None:
    assert unseal(KEY, way, node, seal(KEY, way, node, payload)) == payload


@given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), st.binary(max_size=300))
def test_the_seal_is_the_hmac_of_everybody_else(key: bytes, payload: bytes) -> None:
    sealed = Sealed.FromString(seal(key, Way.UP, "n1", payload))
    assert sealed.seal == hmac.digest(key, b"report 2 n1 " + payload, sha256)


@given(st.binary(max_size=300), st.sampled_from(Way), st.text(st.characters(codec="utf-8"), max_size=200))
def test_a_sealed_message_is_the_message_that_its_fields_make(payload: bytes, way: Way, node: str) -> None:
    sealed = seal(KEY, way, node, payload)
    assert Sealed(node=node, payload=payload, seal=sealed[-sha256().digest_size :]).SerializeToString() == sealed


def test_a_report_cannot_come_back_as_a_grant() -> None:
    with pytest.raises(Forged, match=r"^seal: "):
        unseal(KEY, Way.DOWN, "n1", seal(KEY, Way.UP, "n1", b"report"))


def test_a_message_for_another_node_is_forged() -> None:
    with pytest.raises(Forged, match=r"^node: is 'n2', should be 'n1'"):
        unseal(KEY, Way.UP, "n1", seal(KEY, Way.UP, "n2", b"report"))


def test_a_message_under_another_key_is_forged() -> None:
    with pytest.raises(Forged, match=r"^seal: "):
        unseal(KEY, Way.UP, "n1", seal(OTHER_KEY, Way.UP, "n1", b"report"))


def test_a_relabelled_message_is_forged() -> None:
    message = Sealed.FromString(seal(KEY, Way.UP, "n2", b"report"))
    message.node = "n1"
    with pytest.raises(Forged, match=r"^seal: "):
        unseal(KEY, Way.UP, "n1", message.SerializeToString())


@given(st.integers(min_value=0), st.integers(0, 7))
def test_no_bit_can_be_changed(place: int, bit: int) -> None:
    sealed = bytearray(seal(KEY, Way.DOWN, "n1", b"450 W for 5 s"))
    sealed[place % len(sealed)] ^= 1 << bit
    try:
        payload = unseal(KEY, Way.DOWN, "n1", bytes(sealed))
    except Forged:
        return
    assert payload == b"450 W for 5 s", "an unknown field may slip in beside what is sealed, nothing else"


def test_node_and_payload_cannot_trade_bytes() -> None:
    message = Sealed.FromString(seal(KEY, Way.UP, "n1", b"2 rest"))
    moved = Sealed(node="n12", payload=b" rest", seal=message.seal).SerializeToString()
    with pytest.raises(Forged):
        unseal(KEY, Way.UP, "n12", moved)


@given(st.binary(max_size=80))
def test_any_bytes_are_forged_and_nothing_worse(noise: bytes) -> None:
    with pytest.raises(Forged):
        unseal(KEY, Way.UP, "n1", noise)
