"""What `up --events` wrote replays to the same decisions; another key or another event is found out."""

import argparse
import json
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from google.protobuf.message import Message

from gpuwarden.agent import events as agent_events
from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.limiter.machine import LimiterSetup
from gpuwarden.agent.machine import AgentSetup
from gpuwarden.cli import replay, up
from gpuwarden.controller import events as controller_events
from gpuwarden.controller.machine import ControllerSetup
from gpuwarden.core.config import ConfigError
from gpuwarden.core.eventlog import digest, read_head
from gpuwarden.detector import events as detector_events
from gpuwarden.detector.machine import DetectorSetup


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
    with pytest.raises(ConfigError, match=r"--keys: this log needs the key of node-1; .*, or that file with --key$"):
        verb("replay", str(logs / "limiter-node-1.jsonl"))
    with pytest.raises(ConfigError, match=r"--keys: this log needs the key of node-1; name the folder that has node-1\.key$"):
        verb("replay", str(logs / "controller-simulated.jsonl"), "--key", str(logs / "keys" / "node-1.key"))


def test_a_file_that_is_no_event_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"other\.jsonl:1: format"):
        verb("replay", str(tmp_path / "other.jsonl"))


def changed(logs: Path, tmp_path: Path, line: int, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The detector's log with one line (counted from 1) edited."""
    lines = (logs / "detector-simulated.jsonl").read_text().splitlines()
    step = json.loads(lines[line - 1])
    change(step)
    path = tmp_path / "changed.jsonl"
    path.write_text("\n".join([*lines[: line - 1], json.dumps(step), *lines[line:]]) + "\n")
    return path


def test_one_changed_digest_is_found_with_its_line(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = changed(logs, tmp_path, 7, lambda step: step.update(actions="0" * 16))
    assert verb("replay", str(path), "--json") == 1
    made = json.loads(capsys.readouterr().out)
    first = made["first_difference"]
    assert (made["same"], made["steps"], first["line"], first["digest_recorded"]) == (False, 6, 7, "0" * 16)
    assert first["digest_now"] == json.loads((logs / "detector-simulated.jsonl").read_text().splitlines()[6])["actions"]


def test_one_changed_event_is_found_and_told_in_words(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (logs / "detector-simulated.jsonl").read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if '"$":"Raw"' in text)
    path = changed(logs, tmp_path, line, lambda step: step["event"].update(records=[]))
    assert verb("replay", str(path)) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{path}:{line}: decided otherwise at ") and told[0].endswith(" s on Polled")
    assert told[2] == f"recorded: actions with digest {json.loads(lines[line - 1])['actions']}"
    assert told[3] == f"now: digest {digest([])}, 0 actions"


def test_a_last_line_that_a_crash_cut_short_is_passed_over(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (logs / "detector-simulated.jsonl").read_text()
    (tmp_path / "cut.jsonl").write_text(text[:-20])
    assert verb("replay", str(tmp_path / "cut.jsonl"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == len(text.splitlines()) - 2


HEAD = '{"format": 1, "part": "%s", "setup": %s}\n'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe\x00garbage", "is not text"),
        (b"", r"bad\.jsonl:1: is not JSON"),
        ((HEAD % ("gardener", "{}")).encode(), "part: is 'gardener', should be agent, limiter, detector, controller or isolation"),
        ((HEAD % ("agent", '{"$": "Evil"}')).encode(), r"bad\.jsonl:1: .*Evil"),
        ((HEAD % ("agent", "null")).encode(), r"bad\.jsonl:1: setup: is None, should be a AgentSetup"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        verb("replay", str(tmp_path / "bad.jsonl"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl: No such file"):
        verb("replay", str(tmp_path / "none.jsonl"))


def named_in(hint: Any, seen: set[type]) -> set[type]:
    """Every dataclass, enum and message that a value of this type may hold."""
    for inner in get_args(hint):
        named_in(inner, seen)
    if isinstance(hint, type) and hint not in seen:
        if is_dataclass(hint):
            seen.add(hint)
            for field in get_type_hints(hint).values():
                named_in(field, seen)
        elif issubclass(hint, (Enum, Message)):
            seen.add(hint)
    return seen


@pytest.mark.parametrize(
    ("name", "events", "setup"),
    [
        ("agent-node-1", agent_events.Event, AgentSetup),
        ("limiter-node-1", limiter_events.Event, LimiterSetup),
        ("detector-simulated", detector_events.Event, DetectorSetup),
        ("controller-simulated", controller_events.Event, ControllerSetup),
    ],
)
def test_a_log_may_hold_every_event_that_there_is(logs: Path, name: str, events: Any, setup: type) -> None:
    """Also those that a simulated row never sees."""
    path = logs / f"{name}.jsonl"
    part, plain = read_head(path)
    reader, _ = replay._prepared(part, plain, argparse.Namespace(file=path, key=None, keys=logs / "keys"))
    assert set(reader._types.values()) == named_in(setup, named_in(events, set()))
