"""Who may import whom, and what a decider may know of."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from house import PRODUCT, ROOT, imports, modules, name_of

ALLOWED = {
    "agent": {"core", "proto"},
    "detector": {"core", "proto"},
    "controller": {"core", "proto"},
    "core": {"proto"},
    "proto": set[str](),
    "sim": set(PRODUCT),
    "cli": set(PRODUCT),
}
# A decider touches nothing: whatever can read a clock, chance, the environment or the world is out of its reach.
WORLD = {
    "asyncio", "datetime", "grpc", "http", "httpx", "kafka", "logging", "multiprocessing", "os", "prometheus_client", "pynvml",
    "queue", "random", "secrets", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "uuid",
}
# Of the plain install, that is of a node.
HEAVY = {"anyio", "httpx", "influxdb_client", "numpy", "pandas", "pyarrow", "rich", "safetensors", "sklearn", "starlette", "torch", "uvicorn"}
BY_NAME = {name_of(path): path for path in modules(*PRODUCT)}


@pytest.mark.parametrize("folder", PRODUCT)
def test_a_folder_imports_only_what_it_may(folder: str) -> None:
    for path in modules(folder):
        theirs = {name.split(".")[1] for name in imports(path) if name.startswith("gpuwarden.")}
        assert theirs - {folder} <= ALLOWED[folder], path.relative_to(ROOT)


def reached(path: Path, seen: set[Path]) -> Iterator[tuple[Path, str]]:
    """(module, outside name) for everything that a module imports, directly or through ours."""
    seen.add(path)
    for name in imports(path):
        if (ours := BY_NAME.get(name)) is not None:
            if ours not in seen:
                yield from reached(ours, seen)
        elif not name.startswith("gpuwarden"):
            yield path, name.split(".")[0]


@pytest.mark.parametrize("machine", [p for p in BY_NAME.values() if p.name == "machine.py" and p.parent.name != "core"], ids=name_of)
def test_a_machine_can_reach_nothing_of_the_world(machine: Path) -> None:
    world = {f"{path.relative_to(ROOT)}: {name}" for path, name in reached(machine, set()) if name in WORLD}
    assert not world


def test_there_are_five_machines() -> None:
    assert sorted(p.parent.name for p in BY_NAME.values() if p.name == "machine.py") == [
        "agent", "controller", "core", "detector", "isolation", "limiter",
    ]


@pytest.mark.parametrize("module", ["gpuwarden.agent.main", "gpuwarden.agent.limiter.main", "gpuwarden.cli.main"])
def test_the_agents_side_reaches_nothing_that_the_plain_install_lacks(module: str) -> None:
    heavy = {f"{path.relative_to(ROOT)}: {name}" for path, name in reached(BY_NAME[module], set()) if name in HEAVY}
    assert not heavy
