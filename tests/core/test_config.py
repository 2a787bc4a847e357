"""A config file is understood wholly or refused with what is to be changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuwarden.core.address import Address
from gpuwarden.core.config import ConfigError, keys, load, option, parse
from gpuwarden.core.private import read_key


@dataclass(frozen=True, slots=True)
class Domain:
    """A table within."""

    name: str = option("what it is called")
    rating_w: float = option("what its breaker carries", default=1000.0)

    def problems(self) -> Iterator[str]:
        if self.rating_w <= 0:
            yield f"rating_w: is {self.rating_w}, should be above 0"


@dataclass(frozen=True, slots=True)
class Config:
    """One of everything that a config may hold."""

    node: str = option("this node's name")
    listen: Address = option("where to listen", default=Address("127.0.0.1", 9400))
    folder: Path | None = option("where records are kept", default=None)
    period_s: float = option("how often", default=1.0)
    retries: int = option("how many times", default=3)
    strict: bool = option("whether to be strict", default=False)
    names: tuple[str, ...] = option("some names", default=())
    domains: tuple[Domain, ...] = option("what is under a breaker", default=())
    shares: Mapping[str, float] | None = option("each group's share", default=None)
    spare: Domain | None = option("one more", default=None)


def refusal(document: dict[str, object]) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse(document, Config, "x.toml")
    return str(refused.value).splitlines()


def test_a_file_becomes_the_dataclass(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(
        """
        node = "n1"
        listen = "[::1]:99"
        folder = "/var/lib/x"
        period_s = 2
        retries = 5
        strict = true
        names = ["a", "b"]
        shares = { train = 0.7, serve = 0.3 }
        spare = { name = "s" }
        [[domains]]
        name = "row-1"
        rating_w = 28_800
        """
    )
    assert load(file, Config) == Config(
        node="n1", listen=Address("::1", 99), folder=Path("/var/lib/x"), period_s=2.0, retries=5, strict=True,
        names=("a", "b"), domains=(Domain("row-1", 28800.0),), shares={"train": 0.7, "serve": 0.3}, spare=Domain("s", 1000.0),
    )  # fmt: skip


def test_what_is_left_out_is_the_default() -> None:
    config = parse({"node": "n1"}, Config)
    assert (config.listen, config.period_s, config.domains) == (Address("127.0.0.1", 9400), 1.0, ())


def test_a_whole_number_for_a_float_is_a_float() -> None:
    assert type(parse({"node": "n1", "period_s": 2}, Config).period_s) is float


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({}, "x.toml: node: is missing (this node's name)"),
        ({"node": "n", "perod_s": 1}, "x.toml: perod_s: unknown key; did you mean period_s?"),
        ({"node": 7}, "x.toml: node: is 7, should be text"),
        ({"node": "n", "retries": 1.5}, "x.toml: retries: is 1.5, should be a whole number"),
        ({"node": "n", "retries": True}, "x.toml: retries: is True, should be a whole number"),
        ({"node": "n", "period_s": True}, "x.toml: period_s: is True, should be a number"),
        ({"node": "n", "period_s": 10**400}, f"x.toml: period_s: is {10**400}, should be a number"),
        ({"node": "n", "strict": "yes"}, "x.toml: strict: is 'yes', should be true or false"),
        ({"node": "n", "folder": 3}, "x.toml: folder: is 3, should be a path"),
        ({"node": "n", "listen": 80}, "x.toml: listen: is 80, should be host:port"),
        ({"node": "n", "listen": "n1"}, "x.toml: listen: 'n1' is not host:port"),
        ({"node": "n", "names": "a"}, "x.toml: names: is 'a', should be a list"),
        ({"node": "n", "names": ["a", 1]}, "x.toml: names[1]: is 1, should be text"),
        ({"node": "n", "shares": {"a": "b"}}, "x.toml: shares.a: is 'b', should be a number"),
        ({"node": "n", "spare": 1}, "x.toml: spare: should be a table"),
        ({"node": "n", "spare": {}}, "x.toml: spare.name: is missing (what it is called)"),
        ({"node": "n", "domains": [{"name": "r", "rating": 1}]}, "x.toml: domains[0].rating: unknown key; did you mean rating_w?"),
        ({"node": "n", "domains": [{"name": "r", "rating_w": 0}]}, "x.toml: domains[0].rating_w: is 0.0, should be above 0"),
    ],
)
def test_what_cannot_be_is_refused_with_file_key_and_reason(document: dict[str, object], line: str) -> None:
    assert refusal(document) == [line]


def test_every_problem_is_named_not_only_the_first() -> None:
    assert len(refusal({"retries": "x", "strict": 1, "colour": "red"})) == 4


def test_a_key_that_is_like_no_other_lists_those_that_are_known() -> None:
    assert "known are node, listen" in refusal({"node": "n", "zzz": 1})[0]


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: No such file"):
        load(tmp_path / "no.toml", Config)


@pytest.mark.parametrize("content", [b"node = ", b"\xff\xfe", b"node = 'a'\nnode = 'b'"])
def test_a_file_that_is_not_toml_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.toml: is not TOML"):
        load(tmp_path / "x.toml", Config)


def test_keys_lists_every_option_with_type_default_and_doc() -> None:
    listed = {key: (kind, default, doc) for key, kind, default, doc in keys(Config)}
    assert listed["node"] == ("text", "required", "this node's name")
    assert listed["listen"] == ("host:port", "127.0.0.1:9400", "where to listen")
    assert listed["folder"] == ("a path", "none", "where records are kept")
    assert listed["strict"] == ("true or false", "false", "whether to be strict")
    assert listed["names"][0] == "list of text"
    assert listed["domains[].rating_w"] == ("a number", "1000.0", "what its breaker carries")


class TestKeyFile:
    """A sealing key's file."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "n1.key"
        file.write_text("ab" * 32 + "\n")
        file.chmod(0o600)
        return file

    def test_holds_32_bytes_in_hex(self, file: Path) -> None:
        assert read_key(file) == b"\xab" * 32

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
    def test_that_others_may_open_is_refused(self, file: Path, mode: int) -> None:
        file.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600"):
            read_key(file)

    @pytest.mark.parametrize("content", [b"", b"ab" * 31, b"ab" * 33, b"xy" * 32, b"\xff" * 64])
    def test_of_another_form_is_refused_without_showing_it(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"is not a key: 64 hex digits are expected|is not text") as refused:
            read_key(file)
        assert "abab" not in str(refused.value)

    def test_that_is_absent_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"none\.key: No such file"):
            read_key(tmp_path / "none.key")
