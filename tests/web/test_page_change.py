"""Changes from the page, against a whole controller: only an operator's own page, once, and written down."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from web.door import Visitor, controlling, lines_by, page_config, visiting

from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.main import ControllerShell


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ControllerConfig:
    return page_config(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def shell(config: ControllerConfig) -> Iterator[ControllerShell]:
    with controlling(config) as running:
        yield running


@pytest.fixture
def ada(shell: ControllerShell) -> Iterator[Visitor]:
    with visiting(shell, "ada") as visitor:
        yield visitor


def test_a_double_click_is_one_change_and_the_ledger_names_who_it_was(tmp_path: Path) -> None:
    config = page_config(tmp_path)
    with controlling(config) as shell, visiting(shell, "ada") as ada:
        first, second = ada.set_budget(48e3), ada.set_budget(48e3)
        assert first.status_code == second.status_code == 200 and first.json() == second.json()
        assert first.json()["domain"]["budget_w"] == 48e3
        assert ada.set_budget(47e3).json()["reason"] == "REQUEST_ID_REUSED"
    assert lines_by(config) == [("budget", "ada on the page", "budget set from 60,000 to 48,000 W")]


def test_trying_out_tells_what_it_leads_to_and_changes_nothing(tmp_path: Path) -> None:
    config = page_config(tmp_path)
    with controlling(config) as shell, visiting(shell, "ada") as ada:
        budget = {"domain": "row-a", "budget_w": 45000, "request_id": "r1", "validate_only": True}
        tried = ada.post("/api/budget", budget)
        assert tried.status_code == 200 and tried.json()["domain"]["budget_w"] == 45e3
        assert any("of 45.0 kW" in line for line in tried.json()["leads_to"])
        mode = {"domain": "row-a", "mode": "auto", "request_id": "r1", "validate_only": True, "force": False}
        assert "sets the limits of the 4 nodes" in ada.post("/api/mode", mode).json()["leads_to"][0]
    assert lines_by(config) == []
