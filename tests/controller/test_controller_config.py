"""The controller's configuration: what cannot be is refused with the key that is wrong."""

from pathlib import Path
from typing import Any

import pytest

from gpuwarden.controller.config import ControllerConfig, read_keys
from gpuwarden.core.config import ConfigError, load, parse

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "controller.toml"


TLS = {"cert_file": "/x", "key_file": "/y"}


def document(**changes: Any) -> dict[str, Any]:
    row = {"name": "row-a", "rating_w": 60e3, "classes": [{"name": "h100", "nodes": ["n[1-4]"]}]}
    return {"ledger_file": "/tmp/ledger", "keys_dir": "/tmp/keys", "domains": [row]} | changes


def domain(name: str, *nodes: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "rating_w": 60e3, "classes": [{"name": "h100", "nodes": list(nodes)}]} | changes


def rack(name: str, *nodes: str) -> dict[str, Any]:
    return {"name": name, "nodes": list(nodes)}


def webhook(**changes: Any) -> dict[str, Any]:
    return {"name": "on-call", "url": "http://127.0.0.1/x"} | changes


def test_the_example_is_good() -> None:
    config = load(EXAMPLE, ControllerConfig)
    assert len(config.nodes()) == 8


def test_what_is_left_out_is_safe() -> None:
    config = parse(document(), ControllerConfig)
    assert config.listen.loopback
    assert (config.metrics_listen, config.web_listen, config.bus) == (None, None, None)
    assert config.domains[0].mode == "observe"
    assert config.timing.learn_s < config.lease_s


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (document(listen="0.0.0.0:7443"), "listen: is 0.0.0.0:7443, should be a loopback address"),
        (document(metrics_listen="10.0.0.1:9"), "metrics_listen: is 10.0.0.1:9, should be a loopback address"),
        (document(web_listen="controller:80"), "web_tls: is missing, and web_listen (controller:80) is no loopback address"),
        (document(web_listen="0.0.0.0:80", web_tls=TLS), "web_users_file: is missing, and web_listen (0.0.0.0:80) is no loopback"),
        (document(web_listen="0.0.0.0:80", web_users_file="/x"), "web_tls: is missing, and web_listen (0.0.0.0:80) is no loopback"),
        (document(web_listen="127.0.0.1:80", web_hosts=["https://x"]), "web_hosts: is 'https://x', should be a host's name"),
        (document(web_users_file="/x"), "web_users_file: is for the page, and there is no web_listen"),
        (document(web_listen="127.0.0.1:80", web_tls={"cert_file": "/x"}), "web_tls.key_file: is missing"),
        (document(lease_s=1.0), "lease_s: is 1, should be 2 to 60"),
        (document(stale_s=6.0), "stale_s: is 6, should be 1.5"),
        (document(stale_s=float("nan")), "stale_s: is nan"),
        (document(domains=[]), "domains: there is none"),
        (document(domains=[domain("a", "n1"), domain("b", "n1")]), "domains.classes.nodes: node 'n1' occurs 2 times"),
        (document(domains=[domain("a", "n1"), domain("a", "n2")]), "domains.name: domain 'a' occurs 2 times"),
        (document(domains=[domain("a", "n[1-8]", budget_w=9e3)]), "domains[0].budget_w: is 9,000 W, below the floors: 8 x"),
        (document(webhooks=[webhook(url="ftp://x")]), "webhooks[0].url: should be http://"),
        (document(webhooks=[webhook(url="http://x:y")]), "webhooks[0].url: should be http://"),
        (document(webhooks=[webhook(form="teams")]), "webhooks[0].form: is 'teams', should be alertmanager or cloudevents or pagerduty or slack"),
        (document(webhooks=[webhook(min_severity="x")]), "webhooks[0].min_severity: is 'x', should be info, warning, critical"),
        (document(webhooks=[webhook(), webhook()]), "webhooks.name: webhook 'on-call' occurs 2 times"),
        (document(repeat_s=0), "repeat_s: is 0, should be 60 to 604,800"),
        (document(racks=[rack("r1", "n[1-2]"), rack("r2", "n[4-6]")]), "racks[1].nodes: n5, n6 in no power domain"),
        (document(racks=[rack("r1", "n[1-2]"), rack("r1", "n[3-4]")]), "racks.name: rack 'r1' occurs 2 times"),
        (document(bus={"bootstrap": []}), "bus.bootstrap: is empty"),
        (document(lease=5), "lease: unknown key; did you mean lease_s?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_with_its_key(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(wrong, ControllerConfig, "controller.toml")
    assert f"controller.toml: {says}" in str(caught.value)


def test_every_key_that_is_absent_or_bad_is_named_at_once(tmp_path: Path) -> None:
    for node, text, mode in (("n1", "00" * 32, 0o600), ("n2", "00" * 32, 0o644), ("n3", "zz", 0o600)):
        path = tmp_path / f"{node}.key"
        path.write_text(text, encoding="ascii")
        path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_keys(parse(document(keys_dir=str(tmp_path)), ControllerConfig))
    lines = str(caught.value).splitlines()
    assert ["n2.key" in lines[0], "n3.key" in lines[1], "n4.key" in lines[2]] == [True] * 3
    assert len(lines) == 3


def test_the_keys_of_all_nodes_are_read(tmp_path: Path) -> None:
    for number in range(1, 5):
        path = tmp_path / f"n{number}.key"
        path.write_text(f"{number:02}" * 32 + "\n", encoding="ascii")
        path.chmod(0o600)
    keys = read_keys(parse(document(keys_dir=str(tmp_path)), ControllerConfig))
    assert keys["n3"] == b"\x03" * 32
    assert len(keys) == 4
