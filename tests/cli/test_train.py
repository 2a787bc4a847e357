"""`gpuwarden train` and `models`: from a recorder's files to a model that judges, and the way back."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fakes.fan_node import FIRST, FanNode, recorded

from gpuwarden.cli.main import main
from gpuwarden.detector.health.stored import understood
from gpuwarden.detector.registry.model import TENSORS
from gpuwarden.detector.registry.shelf import Registry

DAYS = 3
UNTIL = f"{datetime.fromtimestamp(60 * (FIRST + DAYS * 1440), UTC):%Y-%m-%dT%H:%M}"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    recorded(folder, FanNode("a"), FanNode("b"), minutes=DAYS * 1440)
    recorded(folder, FanNode("young"), minutes=600)
    return folder


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def one(*words: str) -> tuple[int, str, str]:
        status = main([*words, "--registry", str(tmp_path / "models")])
        said = capsys.readouterr()
        return status, said.out, said.err

    return one


def trained(run: Run, history: Path, *words: str) -> tuple[int, str, str]:
    return run("train", "--past", f"parquet:{history}", "--until", UNTIL, *words)


def test_a_history_becomes_a_model_in_the_shadow_that_is_promoted_and_rolled_back(run: Run, history: Path, tmp_path: Path) -> None:
    status, said, _ = trained(run, history)
    assert status == 0
    assert "2 nodes, 2023-11-" in said and ": 8 metrics that vary, 0 that never did, " in said
    assert "left out, with too little history: young" in said and "would have fired " in said
    assert "is in the shadow: gpuwarden models promote" in said
    assert " shadow " in run("models")[1]
    status, said, _ = run("models", "promote")
    first = said.split()[0]
    assert (status, said) == (0, f"{first} judges; detectors take it up within a minute\n")
    made: dict[str, Any] = json.loads(trained(run, history, "--promote", "--json", "--node", "a")[1])
    assert made["promoted"] and [node["node"] for node in made["nodes"]] == ["a"]
    registry = Registry(tmp_path / "models")
    assert registry.pointers().live == made["model"]
    live = registry.live()
    assert live is not None and understood(live).cards == (("GPU-0", "GPU-1"),)
    assert run("models", "roll-back")[1].startswith(first)
    told = json.loads(run("models", "--json")[1])
    assert {one["model"]: one["role"] for one in told}[first] == "live"
    assert [one["nodes"] for one in told] == [2, 1]


def test_the_threshold_keeps_the_budget_that_was_written(run: Run, history: Path) -> None:
    seldom, often = (json.loads(trained(run, history, "--json", "--budget", budget)[1]) for budget in ("0.1", "3"))
    assert [one["threshold"] for one in seldom["nodes"]] > [one["threshold"] for one in often["nodes"]]
    assert often["would_have_fired"] > seldom["would_have_fired"]
    assert seldom["features"]["dead"] and seldom["per_node_day"] is not None


def test_too_little_history_or_none_is_said(run: Run, history: Path, tmp_path: Path) -> None:
    assert trained(run, history, "--node", "young")[2] == (
        "gpuwarden: --past: too little history: young has 0.42 days of telemetry, the others less, and 1.74 are needed\n"
    )
    status, _, said = run("train", "--past", f"parquet:{history}", "--until", "2020-01-01")
    assert status == 2 and "has no telemetry from 2019-12-24T00:00Z to 2020-01-01T00:00Z" in said
    assert "is not a folder" in run("train", "--past", f"parquet:{tmp_path / 'nothing'}")[2]
    assert "is no source of history" in run("train", "--past", "csv:x")[2]
    assert "gpuwarden train makes it" in run("models")[2]


def test_a_model_that_is_cut_is_listed_with_the_reason_and_not_promoted(run: Run, history: Path, tmp_path: Path) -> None:
    model = json.loads(trained(run, history, "--json", "--node", "a")[1])["model"]
    tensors = tmp_path / "models" / "models" / model / TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-1])
    status, said, _ = run("models")
    assert status == 1 and "refused: " in said and "digest" in said
    status, _, said = run("models", "promote")
    assert status == 2 and "digest" in said
