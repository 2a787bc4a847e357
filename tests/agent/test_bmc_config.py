"""What a person writes about a BMC: used, or refused with the key and the reason."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.redfish.reach import reach
from services import certificate
from services.certificate import Certificate
from services.port import free_port

from gpuwarden.agent.collectors import bmc
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.reading import Unsupported
from gpuwarden.core.config import ConfigError, parse


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate.make(tmp_path_factory.mktemp("certificate"))


def test_without_a_table_it_is_left_out() -> None:
    with pytest.raises(Unsupported, match="not configured"):
        bmc.open(AgentConfig(collectors=("bmc",)))


def test_files_that_cannot_be_used_are_named(tmp_path: Path, proof: Certificate) -> None:
    config = AgentConfig(collectors=("bmc",), bmc=(good := reach("https://127.0.0.1", tmp_path, proof)))
    good.password_file.chmod(0o640)
    with pytest.raises(Unsupported, match=r"bmc\.password_file: .*: others may read it; chmod 600"):
        bmc.open(config)
    good.password_file.write_text("\n")
    good.password_file.chmod(0o600)
    with pytest.raises(Unsupported, match="is empty"):
        bmc.open(config)
    good.password_file.unlink()
    with pytest.raises(Unsupported, match=r"bmc\.password_file: .*No such file"):
        bmc.open(config)
    reach("https://127.0.0.1", tmp_path, proof)
    for content in (None, "no certificate"):
        ca_file = tmp_path / "ca"
        if content is not None:
            ca_file.write_text(content)
        with pytest.raises(Unsupported, match=r"bmc\.ca_file"):
            bmc.open(replace(config, bmc=replace(good, ca_file=ca_file)))


def test_a_password_that_systemd_hands_over_may_show_its_group(tmp_path: Path, proof: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    config = AgentConfig(collectors=("bmc",), bmc=(given := reach(f"https://127.0.0.1:{free_port()}", tmp_path, proof)))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    given.password_file.chmod(0o440)
    bmc.open(config).close()
    given.password_file.chmod(0o444)
    with pytest.raises(Unsupported, match="others may read it"):
        bmc.open(config)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"url": "bmc.example"}, "bmc.url: is 'bmc.example', should be https"),
        ({"url": "http://10.0.0.1"}, "bmc.url: .* the password would be there for all to read"),
        ({"url": "https://a:b@10.0.0.1"}, "bmc.url: holds a user or password"),
        ({"url": "https://10.0.0.1:99999"}, "bmc.url: Port out of range"),
        ({"url": "https://10.0.0.1/redfish/v1"}, "bmc.url: .* should be https://host"),
        ({"user": "a:b"}, "bmc.user"),
        ({"verify": False, "ca_file": "/ca"}, "bmc.ca_file: is of no use"),
        ({"pasword": "x"}, "bmc.pasword: unknown key"),
    ],
)
def test_a_table_that_cannot_be_is_refused_by_key(change: dict[str, object], says: str) -> None:
    table = {"url": "https://10.0.0.1", "user": "watcher", "password_file": "/p", **change}
    with pytest.raises(ConfigError, match=says):
        parse({"collectors": ["bmc"], "bmc": table}, AgentConfig)


def test_a_table_without_its_collector_is_refused() -> None:
    with pytest.raises(ConfigError, match="bmc: is of no use without bmc among the collectors"):
        parse({"bmc": {"url": "https://10.0.0.1", "user": "watcher", "password_file": "/p"}}, AgentConfig)
