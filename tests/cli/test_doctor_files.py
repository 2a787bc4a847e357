"""What is wrong in files, made wrong for real: each is found, said with its numbers and with the line to type next."""

import json
import os
import resource
import shutil
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gpuwarden.agent.limiter.agent_socket import AgentSocket
from gpuwarden.cli.checks import (
    CHECKS,
    boot_clock,
    config_files,
    disk_space,
    floors,
    limiter_socket,
    node_keys,
    node_names,
    open_files,
    other_setters,
    software,
    units,
)
from gpuwarden.cli.checks.found import Found
from gpuwarden.cli.checks.place import Place
from gpuwarden.cli.main import main

Told = Callable[[Iterable[Found]], dict[str, str]]


def test_a_good_configuration_has_nothing_wrong(machine, told: Told) -> None:
    for check in (software, config_files, node_names, node_keys, floors, disk_space, boot_clock):
        assert set(told(check.check(machine.place))) <= {"ok", "warning"}, check.__name__
    assert "all of the 2 nodes' keys" in told(node_keys.check(machine.place))["ok"]


def test_an_unknown_key_is_named_with_the_line_that_checks_the_file(machine, told: Told) -> None:
    machine.replace("agent", "limiter_socket", "limiter_sock")
    said = told(config_files.check(machine.place))
    assert "limiter_sock: unknown key; did you mean limiter_socket?" in said["wrong"]
    assert f"-> gpuwarden config check agent {machine.place.file('agent')}" in said["wrong"]
    assert "controller.toml: is good" in said["ok"]


def test_a_key_that_others_may_read_is_wrong(machine, told: Told) -> None:
    file = machine.place.config_dir / "node.key"
    file.chmod(0o644)
    assert told(node_keys.check(machine.place))["wrong"] == f"{file}: others may read it; chmod 600 {file} -> chmod 600 {file}"


def test_a_missing_key_and_one_that_differs_are_wrong(machine, told: Told) -> None:
    (machine.keys / "n2.key").unlink()
    (machine.keys / "n1.key").write_text("2" * 64 + "\n", encoding="ascii")
    said = told(node_keys.check(machine.place))["wrong"]
    assert f"n2.key: No such file or directory -> gpuwarden config node-keys n2 --out {machine.keys}" in said
    assert "differ: every report of n1 is refused" in said


@pytest.mark.parametrize(
    ("floor_w", "outcome", "says"),
    [
        ("250.0", "wrong", "the limiter's floor_w is 250 W, the controller counts on 200 W for n1: it refuses every report"),
        ("150.0", "warning", "safe, but more than need be"),
        ("200.0", "ok", "floor_w is 200 W for the limiter and in the controller's class of n1"),
    ],
)
def test_floors_are_held_against_each_other(machine, told: Told, floor_w: str, outcome: str, says: str) -> None:
    machine.replace("limiter", "200.0", floor_w)
    assert says in told(floors.check(machine.place))[outcome]


def test_a_name_in_no_domain_and_two_names_are_wrong(machine, told: Told) -> None:
    machine.replace("agent", '"n1"', '"gpu7"')
    said = told(node_names.check(machine.place))["wrong"]
    assert "the agent calls it 'gpu7', the limiter calls it 'n1'" in said
    assert "'gpu7', which is in no domain of the controller's 2 nodes" in said


def test_a_socket_is_absent_then_left_over_then_listened_at_and_nobody_is_cut_off(machine, told: Told) -> None:
    place = Place(machine.place.config_dir)
    path = machine.place.config_dir / "limiter.sock"
    assert "No such file or directory: no limiter has opened it" in told(limiter_socket.check(place))["wrong"]
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert "nobody listens there" in told(limiter_socket.check(place))["wrong"]
    limiter = AgentSocket(path, "", lambda body: None)
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(str(path))
        agent.settimeout(0.3)
        assert "it is listened at" in told(limiter_socket.check(place))["ok"]
        with pytest.raises(TimeoutError):
            agent.recv(1)  # a second connection would have ended this one
    limiter.close()


def test_an_agent_that_looks_elsewhere_is_wrong(machine, told: Told) -> None:
    machine.replace("agent", "limiter.sock", "other.sock")
    assert "other.sock" in told(limiter_socket.check(Place(machine.place.config_dir)))["wrong"]


def test_a_cron_table_that_sets_limits_is_named_with_its_line(machine, told: Told) -> None:
    table = machine.place.root / "etc/cron.d/power"
    table.parent.mkdir(parents=True)
    table.write_text("# nvidia-smi -pl 300\n@reboot root /usr/bin/nvidia-smi -i 0 -pl 300\n", encoding="utf-8")
    said = told(other_setters.check(machine.place))["warning"]
    assert said == f"{table}:2 sets power limits: @reboot root /usr/bin/nvidia-smi -i 0 -pl 300 -> $EDITOR {table}"
    table.write_text("@reboot root /usr/bin/nvidia-smi -L\n", encoding="utf-8")
    assert "none of 1 cron tables" in told(other_setters.check(machine.place))["ok"]


def test_a_folder_that_is_not_there_has_no_room(machine, told: Told) -> None:
    shutil.rmtree(machine.place.config_dir / "state")
    assert f"-> install -d {machine.place.config_dir}/state" in told(disk_space.check(machine.place))["wrong"]


def test_too_few_open_files_are_told(machine, told: Told) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (257, limits[1]))
    try:
        said = told(open_files.check(machine.place))["warning"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert said == "257 files may be open, 258 are needed for 2 agents' sessions and 256 beside them -> ulimit -n 1032"


def test_units_that_are_not_active_are_named(machine, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stands in for systemctl with its documented answer: a state a line, and exit status 3 if one is not active."""
    stands_in = tmp_path / "bin" / "systemctl"
    stands_in.parent.mkdir()
    monkeypatch.setenv("PATH", str(stands_in.parent))
    assert told(units.check(machine.place)) == {"not applicable": "this machine has no systemctl -> "}
    stands_in.write_text("#!/bin/sh\necho active; echo failed; echo inactive; exit 3\n", encoding="ascii")
    stands_in.chmod(0o755)
    said = told(units.check(machine.place))
    assert "gpuwarden-agent.service is active" in said["ok"]
    assert "gpuwarden-limiter.service is failed -> systemctl status gpuwarden-limiter.service" in said["wrong"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_this_user_may_not_read_is_no_fault(machine, told: Told) -> None:
    (machine.place.config_dir / "node.key").chmod(0)
    assert "-> sudo gpuwarden doctor" in told(node_keys.check(machine.place))["warning"]


def test_a_machine_without_any_configuration_has_nothing_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--config-dir", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["check"] for one in found} == set(CHECKS)
    assert all(one["outcome"] in ("ok", "warning", "not applicable") for one in found)


def test_what_is_wrong_is_exit_status_1_with_a_next_line_for_each(machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--config-dir", str(machine.place.config_dir)]) == 1
    lines = capsys.readouterr().out.splitlines()
    wrong = [i for i, line in enumerate(lines) if line.startswith("wrong ")]
    assert wrong and all("next: " in lines[i + 1] for i in wrong)
    assert not any("\x1b" in line for line in lines)


