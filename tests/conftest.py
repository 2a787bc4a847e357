"""Fixtures for the whole suite: real servers, and the measured data that some tests read."""

import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.nvml.steer import FakeNode
from hypothesis import HealthCheck, settings
from services import influx, kafka, kafka_secure, kube, slurm, victoria

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from services.kube_cluster import KubeCluster

ROOT = Path(__file__).parents[1]


# Every warning is an error, but for two of kafka-python's that are not ours to mend: one as it is imported, and one when it
# leaves the socket of a connection that was refused to the garbage collector, in whatever test that runs or after the last.
_NOT_OURS: tuple[tuple[str, type[Warning]], ...] = (
    (r"(read|open)_text is deprecated\. Use files", DeprecationWarning),
    (r"Exception ignored in. <socket\.socket .*laddr=.'0\.0\.0\.0', \d+.>", pytest.PytestUnraisableExceptionWarning),
)


# Servers and other tests share the cores: how long an example takes says nothing of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_configure(config: pytest.Config) -> None:
    for message, category in _NOT_OURS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:{category.__module__}.{category.__name__}")
        warnings.filterwarnings("ignore", message, category)  # the line above holds from the first test to the last


_WAITING, _COMPUTING = ("e2e", "contract"), ("sim",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: else the last minutes of a run are one file's, and the other workers have nothing left to do.

    Of that a file that mostly waits, for servers and leases, and one that mostly computes take turns: else all workers wait, and then all want the cores.
    """
    turns = dict[Path, int]()
    for folders in (_WAITING, _COMPUTING):
        files = dict.fromkeys(item.path for folder in folders for item in items if _folder(item) == folder)
        turns |= {file: turn for turn, file in enumerate(files)}
    items.sort(key=lambda item: turns.get(item.path, len(turns)))


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).parts[1]


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Broker]:
    """One Apache Kafka broker for the whole run. Tests keep apart by topic and group names of their own."""
    with kafka.running(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def secure_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka_secure.SecureBroker]:
    """One that asks who one is, for the whole run."""
    with kafka_secure.running(tmp_path_factory.mktemp("kafka-secure")) as broker:
        yield broker


@pytest.fixture(scope="session")
def influx_program() -> None:
    """Skips where InfluxDB 2 cannot be built; in continuous integration that is a failure."""
    if lacking := influx.lacking():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lacking)


@pytest.fixture(scope="session")
def kube_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kube.Kube]:
    """One Kubernetes API server for the whole run. Skips where it cannot be built; in continuous integration that is a failure."""
    if lacking := kube.lacking():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(lacking)
    with kube.running(tmp_path_factory.mktemp("kube")) as server:
        yield server


@pytest.fixture(scope="session")
def kube_objects(kube_server: kube.Kube) -> "KubeCluster":
    """What tests put into it. Imported here, since YAML is not there where the installer is tried."""
    from services.kube_cluster import KubeCluster

    return KubeCluster(kube_server)


@pytest.fixture
def kube_cluster(kube_objects: "KubeCluster") -> "KubeCluster":
    """Four nodes with nothing on them."""
    kube_objects.clean()
    return kube_objects


@pytest.fixture(scope="session")
def influx_server(influx_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[influx.Influx]:
    """One InfluxDB 2 for the whole run. Tests keep apart by nodes, or buckets, of their own."""
    with influx.running(tmp_path_factory.mktemp("influx")) as server:
        yield server


@pytest.fixture(scope="session")
def victoria_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[victoria.Victoria]:
    """One VictoriaMetrics for the whole run."""
    with victoria.running(tmp_path_factory.mktemp("victoria")) as server:
        yield server


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Slurm]:
    """One Slurm of four nodes for the whole run. Tests keep apart by ending everything before they begin."""
    with slurm.running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium. Imported here, so that only who asks for it waits for Playwright."""
    from services import chromium

    with chromium.running() as running:
        yield running


@pytest.fixture
def node(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNode]:
    """Simulated cards that this process and its children see, as many as the test's module says in GPUS."""
    with FakeNode(tmp_path / "cards", gpus=request.module.GPUS) as made:
        for name, value in made.env().items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of measured data: GPUWARDEN_DATA, or `shared/data` beside the checkout; without either the test skips."""
    named = os.environ.get("GPUWARDEN_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if named:
            pytest.fail(f"GPUWARDEN_DATA: {folder} is not a folder")
        pytest.skip(f"needs the measured data: {folder} is not there, and GPUWARDEN_DATA names no other folder")
    return folder


@pytest.fixture(autouse=True)
def level_of_our_own_logger() -> None:
    """A daemon that another test has started in this process has left its own level."""
    logging.getLogger("gpuwarden").setLevel(logging.NOTSET)
