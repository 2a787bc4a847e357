"""A real Prometheus scrapes real daemons: rules load, and what dashboards ask for is there."""

import importlib.util
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from house import ROOT
from services import kafka, stack
from services.port import free_port, wait_until_open

from gpuwarden.proto.catalogue import COLUMNS

DOMAIN = 'name = "row"\nrating_w = 6800.0\nmode = "auto"\ndead_nodes = 0\n'
GRAFANA = ROOT / "deploy" / "grafana"
# Nothing of the kind has happened in this row, or there is no such device in it.
EMPTY = ("Alerts for people", "InfiniBand rate", "Things that happened to devices", "Ticks left out, actions that failed")


def built() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", GRAFANA / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = built()


@pytest.mark.parametrize("name", BUILD.DASHBOARDS)
def test_a_dashboard_is_what_its_description_makes(name: str) -> None:
    assert (GRAFANA / f"{name}.json").read_text(encoding="utf-8") == BUILD.text(name)


class Prometheus:
    """Queries of a server that scrapes every second."""

    def __init__(self, port: int) -> None:
        self._at = f"http://127.0.0.1:{port}/api/v1"

    def ready(self) -> bool:
        try:
            self.ask("query", query="up")
        except urllib.error.HTTPError:
            return False
        return True

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self._at}/{path}?{urllib.parse.urlencode(query)}", timeout=10.0) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[Any]:
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A broker of its own: a detector reads the topic from its start, and in the shared one lies what other tests want refused."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    with (
        kafka.running(tmp_path_factory.mktemp("kafka")) as broker,
        stack.running(tmp_path_factory.mktemp("row"), stack.Plan(("a",), DOMAIN, broker.bootstrap)) as row,
    ):
        row.gpus["a"].set_demands(650.0)
        (folder / "prometheus.yml").write_text(_config(row.metrics))
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                 f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
            )
        try:
            wait_until_open(port, server, folder / "log", 20.0)
            made = Prometheus(port)
            _wait_until_scraped(made, len(row.metrics))
            yield made
        finally:
            server.kill()
            server.wait()


def _config(metrics: dict[str, int]) -> str:
    jobs = "".join(
        f'  - job_name: gpuwarden-{name.partition("-")[0]}\n    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]\n'
        for name, port in metrics.items()
    )
    rules = ROOT / "deploy" / "prometheus" / "gpuwarden.rules.yml"
    return f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{rules}']\nscrape_configs:\n{jobs}"


def _wait_until_scraped(made: Prometheus, targets: int) -> None:
    """All of them, the node in contact and telemetry judged."""
    until_s = time.monotonic() + 40
    while not made.ready():
        assert time.monotonic() < until_s
        time.sleep(0.2)
    while len(made.values("up == 1")) < targets or not made.values("gpuwarden_detector_samples_judged_total > 5"):
        assert time.monotonic() < until_s, made.values("up")
        time.sleep(0.5)
    time.sleep(4.0)  # a rate takes two scrapes


@pytest.mark.parametrize("name", BUILD.DASHBOARDS)
def test_what_a_dashboard_asks_for_is_there(prometheus: Prometheus, name: str) -> None:
    board = json.loads((GRAFANA / f"{name}.json").read_text(encoding="utf-8"))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        answers = [prometheus.values(_plain(target["expr"])) for target in panel["targets"]]
        assert any(answers) or panel["title"] in EMPTY, panel["title"]


def _plain(expression: str) -> str:
    """As Grafana fills it in."""
    return re.sub(r"\$(domain|node)\b", ".*", expression.replace("$__rate_interval", "10s"))


def test_all_rules_are_evaluated_without_an_error_and_none_fires_on_a_healthy_row(prometheus: Prometheus) -> None:
    time.sleep(2.0)
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 20
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    assert prometheus.values("gpuwarden_detector_records_refused_total > 0") == []


def test_every_metric_that_rules_and_dashboards_name_exists(prometheus: Prometheus) -> None:
    there = set(prometheus.ask("label/__name__/values"))
    asked = set(re.findall(r"\b(?:gpuwarden|process)_\w+", (ROOT / "deploy" / "prometheus" / "gpuwarden.rules.yml").read_text()))
    for name in BUILD.DASHBOARDS:
        for panel in json.loads((GRAFANA / f"{name}.json").read_text())["panels"]:
            asked |= {metric for target in panel["targets"] for metric in re.findall(r"\b(?:gpuwarden|process)_\w+", target["expr"])}
    assert asked - there - set(_named_in_code()) == set()


def _named_in_code() -> Iterator[str]:
    """A labelled counter, or a reading of a device that this row has none of, shows only once there is one."""
    for room in ("agent", "controller", "core", "detector"):
        for path in (ROOT / room).rglob("*.py"):
            for name in re.findall(r"\bgpuwarden_\w+", path.read_text(encoding="utf-8")):
                yield from (name, f"{name}_total")
    yield from (f"gpuwarden_{metric.name}" for metrics in COLUMNS.values() for metric in metrics)
