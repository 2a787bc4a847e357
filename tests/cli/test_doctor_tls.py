"""Doctor where daemons show certificates: what serves is ok by whatever name others call it, and what does not fit is wrong."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from services.port import free_port

from gpuwarden.cli.authority import Authority
from gpuwarden.cli.checks import controller_health, metrics_pages
from gpuwarden.cli.checks.found import Found
from gpuwarden.controller.config import ControllerConfig, read_keys
from gpuwarden.controller.main import ControllerShell
from gpuwarden.core.address import Address
from gpuwarden.core.config import load
from gpuwarden.core.metrics import serve_metrics
from gpuwarden.core.tls import KEY

Told = Callable[[Iterable[Found]], dict[str, str]]
NAME = "ctl.example.org"  # by which agents call it; no address of this machine is in its certificate


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def own(machine, authority: Authority) -> Path:
    """The folder of a controller that listens everywhere."""
    tls_dir = authority.leaf("controller", "c", "spiffe://gpuwarden/controller/c", (NAME,), 1.0)
    machine.replace("controller", "metrics_listen = \"127.0.0.1", f'tls_dir = "{tls_dir}"\nmetrics_listen = "0.0.0.0')
    machine.replace("controller", 'listen = "127.0.0.1:' + str(machine.controller_port), f'listen = "0.0.0.0:{machine.controller_port}')
    return tls_dir


@pytest.fixture
def running(machine, own: Path) -> Iterator[ControllerShell]:
    config = load(machine.place.file("controller"), ControllerConfig)
    with ControllerShell(config, read_keys(config)) as shell:
        yield shell


def wait_for_ok(check: Callable[[], dict[str, str]], within_s: float = 10.0) -> dict[str, str]:
    until_s = time.monotonic() + within_s
    while "ok" not in (said := check()):
        assert time.monotonic() < until_s, said
        time.sleep(0.05)
    return said


@pytest.mark.usefixtures("running")
def test_a_controller_that_listens_everywhere_is_serving_under_the_name_in_its_certificate(machine, told: Told) -> None:
    machine.place.file("agent").unlink()
    said = wait_for_ok(lambda: told(controller_health.check(machine.place)))
    assert said == {"ok": f"the controller at 127.0.0.1:{machine.controller_port} is SERVING -> "}
    pages = told(metrics_pages.check(machine.place))
    assert f"https://127.0.0.1:{machine.metrics_port}/metrics of the controller has " in pages["ok"] and len(pages) == 1


@pytest.mark.usefixtures("running")
def test_an_agent_that_calls_a_name_which_the_certificate_lacks_is_wrong(machine, authority: Authority, told: Told) -> None:
    tls_dir = authority.leaf("agent", "n1", "spiffe://gpuwarden/agent/n1", ("n1",), 1.0)
    machine.replace("agent", 'node = "n1"', f'node = "n1"\ntls_dir = "{tls_dir}"')
    machine.replace("agent", 'controller = "127.0.0.1', 'controller = "localhost')
    said = wait_for_ok(lambda: told(controller_health.check(machine.place)))
    assert f"no controller at localhost:{machine.controller_port}: UNAVAILABLE" in said["wrong"]


def test_an_agents_page_of_its_own_authority_is_ok_and_one_of_another_is_wrong(machine, authority: Authority, tmp_path: Path, told: Told) -> None:
    machine.place.file("controller").unlink()
    listen = Address("127.0.0.1", free_port())
    tls_dir = authority.leaf("agent", "n1", "spiffe://gpuwarden/agent/n1", ("n1",), 1.0)
    machine.replace("agent", 'node = "n1"', f'node = "n1"\ntls_dir = "{tls_dir}"\nmetrics_listen = "{listen}"')
    theirs = Authority(tmp_path / "other").leaf("agent", "n1", "spiffe://gpuwarden/agent/n1", ("n1",), 1.0)
    for served, outcome, says in ((tls_dir, "ok", "of the agent has "), (theirs, "wrong", "certificate verify failed")):
        close = serve_metrics("agent", listen, served)
        try:
            assert says in told(metrics_pages.check(machine.place))[outcome]
        finally:
            close()


def test_a_folder_that_is_not_sound_is_wrong_with_the_file_and_the_reason(machine, own: Path, told: Told) -> None:
    machine.place.file("agent").unlink()
    (own / KEY).chmod(0o644)
    for check in (controller_health.check, metrics_pages.check):
        said = told(check(machine.place))["wrong"]
        assert "no way to " in said and "others may read it" in said and said.endswith(f"-> ls -l {own}")
