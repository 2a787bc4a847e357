"""One suite for every BMC that takes orders: ours with either schema, and somebody else's for what that has. Then ours, failing."""

import queue
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from fakes.redfish.service import PASSWORD, USER, FakeBmc, running
from fakes.redfish.system import RESET, SYSTEM, with_system
from fakes.redfish.tree import LIMIT_W, NODE, ROOT, tree
from services.certificate import Certificate

from gpuwarden.controller.actuators.redfish import BmcOrders
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.events import OutOfBand, OutOfBandDone
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.out_of_band_config import OutOfBandConfig
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.address import Address

OURS = {"both": (True, True), "present": (True, False), "before": (False, True)}
ENVIRONMENT, POWER = f"{NODE}/EnvironmentMetrics", f"{NODE}/Power"

Order = Callable[..., OutOfBandDone]


@pytest.fixture(params=OURS.values(), ids=OURS)
def bmc(request: pytest.FixtureRequest, proof: Certificate) -> Iterator[FakeBmc]:
    with running(FakeBmc(with_system(tree(*request.param))), proof) as fake:
        yield fake


@pytest.fixture
def ours(proof: Certificate) -> Iterator[FakeBmc]:
    with running(FakeBmc(with_system(tree(present=True, before=False))), proof) as fake:
        yield fake


@pytest.fixture
def order(tmp_path: Path, proof: Certificate) -> Iterator[Order]:
    """Carries out one order at a BMC, and gives what came of it."""
    with ExitStack() as stack:

        def carry_out(url: str, kind: str, limit_w: float = 0.0) -> OutOfBandDone:
            file = tmp_path / "password"
            file.write_text(PASSWORD + "\n")
            file.chmod(0o600)
            done = queue.Queue[OutOfBandDone]()
            orders = BmcOrders(OutOfBandConfig(url, USER, file, ca_file=proof.certificate), lambda event: done.put(event) is None)
            stack.callback(orders.close)
            orders.order(OutOfBand("n1", kind, limit_w))
            answer = done.get(timeout=40.0)
            assert (answer.node, answer.kind) == ("n1", kind)
            return answer

        yield carry_out


def limit_of(bmc: FakeBmc) -> float | None:
    """As the place that counts has it: the present one where there are both."""
    if ENVIRONMENT in bmc.tree:
        limit = bmc.tree[ENVIRONMENT]["PowerLimitWatts"]
        return None if limit["ControlMode"] == "Disabled" else float(limit["SetPoint"])
    given = bmc.tree[POWER]["PowerControl"][0]["PowerLimit"]["LimitInWatts"]
    return None if given is None else float(given)


# Every BMC.


def test_a_limit_is_set_once_read_back_and_lifted(bmc: FakeBmc, order: Order) -> None:
    done = order(bmc.url, "limit", 4150.0)
    assert done.ok and limit_of(bmc) == 4150.0
    assert f"{LIMIT_W:,.0f} W before, 4,150 W now" in done.said
    assert len([asked for asked in bmc.asked if asked.startswith("PATCH")]) == 1
    done = order(bmc.url, "lift")
    assert done.ok and limit_of(bmc) is None
    assert "4,150 W before, no limit now" in done.said


def test_a_node_is_switched_off_once(bmc: FakeBmc, order: Order) -> None:
    done = order(bmc.url, "off")
    assert done.ok and bmc.tree[SYSTEM]["PowerState"] == "Off"
    assert [asked for asked in bmc.asked if asked.startswith("POST")] == [f"POST {RESET} {{'ResetType': 'ForceOff'}}"]


def test_somebody_elses_is_switched_off_if_it_is_of_one_system_and_has_no_limit(emulator: str, order: Order, proof: Certificate) -> None:
    limited = order(emulator, "limit", 4150.0)
    assert not limited.ok and "no chassis has a power limit" in limited.said
    client = httpx.Client(base_url=emulator, auth=(USER, PASSWORD), verify=ssl.create_default_context(cafile=proof.certificate))
    with client:
        systems = client.get("/redfish/v1/Systems").json()["Members"]
        done = order(emulator, "off")
        if len(systems) == 1:
            assert done.ok, done.said
            assert client.get(systems[0]["@odata.id"]).json()["PowerState"] == "Off"
        else:
            assert not done.ok and f"Systems: are {len(systems)}, should be 1" in done.said


# Ours, failing.


def test_a_limit_that_is_not_read_back_has_failed(ours: FakeBmc, order: Order) -> None:
    ours.ignores = True
    done = order(ours.url, "limit", 4150.0)
    assert not done.ok and f"4,150 W was ordered, and {LIMIT_W:,.0f} W is read back" in done.said
    assert len([asked for asked in ours.asked if asked.startswith("PATCH")]) == 1


def test_below_the_least_that_it_takes_it_is_set_to_that_and_has_failed(ours: FakeBmc, order: Order) -> None:
    ours.tree[ENVIRONMENT]["PowerLimitWatts"]["AllowableMin"] = 5000
    done = order(ours.url, "limit", 4150.0)
    assert not done.ok and limit_of(ours) == 5000.0


@pytest.mark.parametrize(("status", "says"), [(400, "answered 400"), (403, "answered 403"), (412, "answered 412"), (500, "answered 500")])
def test_a_refusal_is_told(status: int, says: str, ours: FakeBmc, order: Order) -> None:
    ours.status[RESET] = status
    done = order(ours.url, "off")
    assert not done.ok and says in done.said and ours.tree[SYSTEM]["PowerState"] == "On"


def test_of_several_systems_none_is_switched_off(ours: FakeBmc, order: Order) -> None:
    ours.tree[f"{ROOT}/Systems"]["Members"].append({"@odata.id": f"{ROOT}/Systems/Other"})
    done = order(ours.url, "off")
    assert not done.ok and "Systems: are 2, should be 1" in done.said
    assert not [asked for asked in ours.asked if asked.startswith("POST")]


def test_a_wrong_password_is_told_and_never_shown(ours: FakeBmc, order: Order) -> None:
    ours.password = "another"
    done = order(ours.url, "limit", 4150.0)
    assert not done.ok and "401" in done.said and PASSWORD not in done.said


def test_a_bmc_that_hangs_ends_with_its_deadline(ours: FakeBmc, order: Order) -> None:
    ours.slow_s = 6.0
    began_s = time.monotonic()
    done = order(ours.url, "limit", 4150.0)
    assert not done.ok and "no answer within 5 s" in done.said
    assert time.monotonic() - began_s < 8.0


@pytest.mark.parametrize("body", [b"nonsense", b"[]", b'{"Chassis": 5}', b'{"Chassis": {"@odata.id": "http://elsewhere/"}}'])
def test_nonsense_is_told(body: bytes, ours: FakeBmc, order: Order) -> None:
    ours.raw[f"{ROOT}/"] = body
    assert not order(ours.url, "limit", 4150.0).ok
    with suppress(KeyError):
        assert limit_of(ours) == LIMIT_W


def test_a_controller_that_never_hears_of_a_node_has_its_bmc_limit_it(ours: FakeBmc, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    bmcs = OutOfBandConfig(ours.url.replace("127.0.0.1", "{node}"), USER, file, mode="auto", verify=False)
    row = DomainConfig("row", 60e3, (NodeClass("h100", ("localhost",)),), mode="auto", dead_nodes=0)
    config = ControllerConfig(
        ledger_file=tmp_path / "ledger", keys_dir=tmp_path, domains=(row,), listen=Address("127.0.0.1", 0), out_of_band=bmcs
    )
    with ControllerShell(config, {"localhost": bytes(32)}):
        until_s = time.monotonic() + 40.0
        while limit_of(ours) == LIMIT_W:
            assert time.monotonic() < until_s
            time.sleep(0.1)
        time.sleep(1.0)
    assert limit_of(ours) == 4148.0
    ledger = Ledger(tmp_path / "ledger")
    done, ordered = [line for line in ledger.newest(100) if line.kind == "bmc-limit"]
    ledger.close()
    assert "limit the node to 4,148 W" in ordered.reason and "6,500 W before, 4,148 W now" in done.reason
