"""The package list is the tree, the stubs are their .proto files, and the plain wheel brings nothing heavy."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from house import PRODUCT, ROOT, modules

from gpuwarden.core.version import VERSION
from gpuwarden.proto.generate import generate

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ABSENT = ("torch", "sklearn", "numpy", "pyarrow", "starlette", "uvicorn", "httpx", "rich", "influxdb_client", "safetensors")


def test_every_package_is_listed() -> None:
    tree = {".".join(("gpuwarden", *p.parent.relative_to(ROOT).parts)) for p in modules(*PRODUCT)}
    assert sorted(tree) == sorted(PROJECT["tool"]["setuptools"]["packages"])


def test_the_stubs_are_what_the_compiler_makes_of_the_protos(tmp_path: Path) -> None:
    generate(tmp_path)
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*_pb2*")}
    here = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "proto").glob("*_pb2*")}
    assert made.keys() == here.keys()
    assert [name for name in made if made[name] != here[name]] == []


@pytest.mark.timeout(300)
def test_the_plain_wheel_runs_in_an_empty_environment_and_brings_nothing_heavy(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "-q", "build", "--wheel", "--out-dir", tmp_path, ROOT], check=True, timeout=120)
    subprocess.run([uv, "-q", "venv", "--python", sys.executable, tmp_path / "venv"], check=True, timeout=60)
    python = tmp_path / "venv" / "bin" / "python"
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([uv, "-q", "pip", "install", "--python", python, wheel], check=True, timeout=120)
    find = f"import importlib.util as u; print([n for n in {ABSENT!r} if u.find_spec(n)])"
    found = subprocess.run([python, "-c", find], check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[]"
    once = [tmp_path / "venv" / "bin" / "gpuwarden", "agent", "--once", "--json"]
    ran = subprocess.run(once, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_the_code_knows_its_version() -> None:
    assert PROJECT["project"]["version"] == VERSION


ROOT_PROCESSES = {
    "gpuwarden.agent.limiter.main": ("pynvml", "prometheus_client", "grpc", "kafka", "http"),
    "gpuwarden.agent.limiter.cards_session": ("google.protobuf.descriptor", "prometheus_client", "grpc", "kafka", "http"),
    "gpuwarden.agent.nvml_pass": ("google.protobuf.descriptor", "prometheus_client", "grpc", "kafka", "http"),
    "gpuwarden.agent.main": ("pynvml", "numpy", "kafka"),
}


def test_the_command_loads_one_verb_for_a_daemon() -> None:
    find = "import sys; from gpuwarden.cli.main import parser; parser('limiter'); print([n for n in ('grpc', 'kafka') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", find], check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ROOT_PROCESSES)
def test_a_nodes_processes_load_what_they_use_and_no_more(module: str) -> None:
    """Every node carries them all, for ever."""
    find = f"import sys, {module}; print([name for name in {ROOT_PROCESSES[module]!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", find], check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[]"
