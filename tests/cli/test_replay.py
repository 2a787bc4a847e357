"""What `up --events` wrote replays to the same decisions; another key or another event is found out."""

import argparse
import json
from pathlib import Path

import pytest

from gpuwarden.cli import replay, up
from gpuwarden.core.config import ConfigError


def verb(*words: str) -> int:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers()
    up.add(verbs)
    replay.add(verbs)
    args = parser.parse_args(words)
    return int(args.run(args))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replayed") / "events"
    assert verb("up", "--headless", "--duration", "8", "--json", "--events", str(folder)) == 0
    return folder


@pytest.mark.parametrize("name", ["agent-node-1", "limiter-node-1", "detector-simulated", "controller-simulated"])
def test_every_part_decides_the_same_again(logs: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb("replay", str(logs / f"{name}.jsonl"), "--keys", str(logs / "keys"), "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["same"] and made["steps"] > 5 and made["actions"] > 5


def test_another_nodes_key_is_found_out(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = logs / "keys" / "node-2.key"
    assert verb("replay", str(logs / "limiter-node-1.jsonl"), "--key", str(key)) == 1
    assert "limiter-node-1.jsonl:2: decided otherwise" in capsys.readouterr().out


def test_a_log_that_needs_keys_says_so(logs: Path) -> None:
    with pytest.raises(ConfigError, match="--keys: this log needs the key of node-1"):
        verb("replay", str(logs / "limiter-node-1.jsonl"))


def test_a_file_that_is_no_event_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"other\.jsonl:1: format"):
        verb("replay", str(tmp_path / "other.jsonl"))
