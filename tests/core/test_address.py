"""Addresses as they are written in configs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.core.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9400", Address("127.0.0.1", 9400)),
        ("[::1]:0", Address("::1", 0)),
        ("n1.cluster:65535", Address("n1.cluster", 65535)),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "n1", ":80", "n1:", "n1:-1", "n1:65536", "n1:x", "[]:80", "n1:8 0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_address(text)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert address.host and 0 <= address.port <= 65535


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("n1", False)],
)
def test_only_a_loopback_address_or_localhost_is_loopback(host: str, loopback: bool) -> None:
    assert Address(host, 1).loopback is loopback


@pytest.mark.parametrize(("host", "nearby"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.5", "10.0.0.5"), ("n1", "n1")])
def test_what_listens_everywhere_is_called_on_loopback(host: str, nearby: str) -> None:
    assert Address(host, 7443).nearby == Address(nearby, 7443)
