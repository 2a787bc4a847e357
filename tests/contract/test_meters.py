"""One suite for every device that a meter is read from: PDUs and BMCs over Redfish, ours and somebody else's, and exporters' pages. Then ours, failing."""

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from fakes.redfish.pdu import BRANCH_W, OUTLET_W, PDU, TOTAL_W, pdu
from fakes.redfish.service import PASSWORD, USER, FakeBmc, running
from fakes.redfish.tree import CHASSIS_W, NODE, ROOT, tree
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from services.certificate import Certificate

from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.events import MeterFailed, MeterRead
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.meters import KINDS
from gpuwarden.controller.meters.device import Device, Lacks, Told
from gpuwarden.controller.meters.polling import Polling
from gpuwarden.controller.meters.prometheus import summed
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.meter_config import NEEDS, MeterConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.address import Address
from gpuwarden.core.config import ConfigError, parse

PAGE = """# HELP pdu_power_watts of each phase
# TYPE pdu_power_watts gauge
pdu_power_watts{pdu="a1",phase="1"} 6100.5
pdu_power_watts{pdu="a1",phase="2"} 6000
pdu_power_watts{pdu="b1",phase="1"} 7
pdu_power_watts_max{pdu="a1"} 99999
broken{ line
"""


@dataclass
class Exporter:
    """A page that can be made to fail."""

    body: bytes = PAGE.encode()
    status: int = 200
    slow_s: float = 0.0
    url: str = ""
    asked: int = 0


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever has waited enough goes away."""


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    made = Exporter()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            made.asked += 1
            time.sleep(made.slow_s)
            with contextlib.suppress(OSError):  # who has waited enough goes away
                self.send_response(made.status)
                self.send_header("Content-Length", str(len(made.body)))
                self.end_headers()
                self.wfile.write(made.body)

    server = Server(("127.0.0.1", 0), Answer)
    made.url = f"http://127.0.0.1:{server.server_port}/metrics"
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def reach(tmp_path: Path, proof: Certificate) -> Callable[..., MeterConfig]:
    def made(url: str, resource: str) -> MeterConfig:
        file = tmp_path / "password"
        file.write_text(PASSWORD + "\n")
        file.chmod(0o600)
        return MeterConfig("redfish", url, resource, user=USER, password_file=file, ca_file=proof.certificate, stale_s=8.0)

    return made


@pytest.fixture
def ours(proof: Certificate) -> Iterator[FakeBmc]:
    with running(FakeBmc(pdu() | {path: one for path, one in tree(True, True).items() if path != f"{ROOT}/"}), proof) as fake:
        yield fake


@pytest.fixture
def opened() -> Iterator[Callable[[MeterConfig], Device]]:
    with ExitStack() as stack:

        def make(meter: MeterConfig) -> Device:
            open_device = KINDS[meter.kind]
            assert open_device is not None
            device = open_device(meter)
            stack.callback(device.close)
            return device

        yield make


def read(device: Device, *meters: MeterConfig, within_s: float = 10.0) -> list[Told | Lacks]:
    return list(device.read(meters, time.monotonic() + within_s))


@pytest.fixture(params=["pdu", "page", "exporter"])
def working(
    request: pytest.FixtureRequest, ours: FakeBmc, exporter: Exporter, reach: Callable[..., MeterConfig]
) -> Iterator[tuple[MeterConfig, float]]:
    """A meter that tells, and what."""
    if request.param == "pdu":
        yield reach(ours.url, PDU), TOTAL_W
    elif request.param == "page":
        yield MeterConfig("prometheus", exporter.url, series='pdu_power_watts{pdu="a1"}'), 12100.5
    else:  # the library's own, as many exporters use it
        registry = CollectorRegistry()
        Gauge("busway_power_kilowatts", "Of a busway", ["feed"], registry=registry).labels("a").set(411.5)
        server, thread = start_http_server(0, "127.0.0.1", registry)
        yield MeterConfig("prometheus", f"http://127.0.0.1:{server.server_port}/metrics", series="busway_power_kilowatts"), 411.5
        server.shutdown()
        thread.join()
        server.server_close()


def test_each_kind_has_its_keys_and_its_file() -> None:
    assert KINDS.keys() == NEEDS.keys()


# Every device.


def test_what_it_shows_is_read_with_its_moment(working: tuple[MeterConfig, float], opened: Callable[[MeterConfig], Device]) -> None:
    meter, power_w = working
    before_s = time.monotonic()
    (told,) = read(opened(meter), meter)
    assert isinstance(told, Told), told
    assert told.power_w == pytest.approx(power_w)
    assert before_s <= told.told_s <= time.monotonic()


def test_several_meters_of_one_device_are_each_told(working: tuple[MeterConfig, float], opened: Callable[[MeterConfig], Device]) -> None:
    meter, power_w = working
    absent = replace(meter, **({"resource": f"{PDU}/Nothing"} if meter.kind == "redfish" else {"series": "nothing"}))
    first, second, third = read(opened(meter), meter, absent, meter)
    assert isinstance(second, Lacks) and not second.locked and "othing" in second.why
    assert [one.power_w for one in (first, third) if isinstance(one, Told)] == pytest.approx([power_w, power_w])


def test_a_device_that_is_stopped_tells_nothing(working: tuple[MeterConfig, float], opened: Callable[[MeterConfig], Device]) -> None:
    meter, _ = working
    device = opened(meter)
    device.stop()
    assert all(isinstance(one, Lacks) for one in read(device, meter, meter))


# Redfish.


@pytest.mark.parametrize(
    ("resource", "power_w"),
    [
        (PDU, TOTAL_W), (f"{PDU}/Metrics", TOTAL_W), (f"{PDU}/Branches/A", BRANCH_W[0]), (f"{PDU}/Outlets/A1", OUTLET_W),
        (f"{PDU}/Sensors/Mains", TOTAL_W), (f"{PDU}/Sensors/MainskW", TOTAL_W),
        (NODE, CHASSIS_W), (f"{NODE}/EnvironmentMetrics", CHASSIS_W), (f"{NODE}/Power", CHASSIS_W),
    ],
)
def test_every_resource_that_tells_power(
    resource: str, power_w: float, ours: FakeBmc, reach: Callable[..., MeterConfig], opened: Callable[[MeterConfig], Device]
) -> None:
    meter = reach(ours.url, resource)
    (told,) = read(opened(meter), meter)
    assert told == Told(pytest.approx(power_w), told.told_s) if isinstance(told, Told) else pytest.fail(str(told))


def test_a_chassis_of_the_schema_before(ours: FakeBmc, reach: Callable[..., MeterConfig], opened: Callable[[MeterConfig], Device]) -> None:
    ours.tree[f"{NODE}/EnvironmentMetrics"]["PowerWatts"]["Reading"] = None
    ours.tree[f"{NODE}/Power"]["PowerControl"][0]["PowerConsumedWatts"] = 2345
    meter = reach(ours.url, NODE)
    (told,) = read(opened(meter), meter)
    assert isinstance(told, Told) and told.power_w == 2345


def test_somebody_elses_chassis_that_tells_no_power_is_named(
    emulator: str, reach: Callable[..., MeterConfig], opened: Callable[[MeterConfig], Device]
) -> None:
    from_root = reach(emulator, "/redfish/v1/Chassis")
    (told,) = read(opened(from_root), from_root)
    assert isinstance(told, Lacks) and "/redfish/v1/Chassis" in told.why and "tells no power" in told.why


@pytest.mark.parametrize("strange", [None, "12", True, [1], 1e39, float("nan"), {"a": 1}])
def test_a_reading_that_is_none_is_named(
    strange: object, ours: FakeBmc, reach: Callable[..., MeterConfig], opened: Callable[[MeterConfig], Device]
) -> None:
    ours.tree[f"{PDU}/Branches/A"]["PowerWatts"]["Reading"] = strange
    bad, good = reach(ours.url, f"{PDU}/Branches/A"), reach(ours.url, f"{PDU}/Branches/B")
    first, second = read(opened(bad), bad, good)
    assert isinstance(first, Lacks) and f"{PDU}/Branches/A: PowerWatts.Reading is " in first.why
    assert isinstance(second, Told) and second.power_w == BRANCH_W[1]


def test_amperes_are_no_watts(ours: FakeBmc, reach: Callable[..., MeterConfig], opened: Callable[[MeterConfig], Device]) -> None:
    ours.tree[f"{PDU}/Sensors/Mains"]["ReadingUnits"] = "A"
    meter = reach(ours.url, f"{PDU}/Sensors/Mains")
    (told,) = read(opened(meter), meter)
    assert told == Lacks(f"{PDU}/Sensors/Mains: reads in 'A', not in W or kW")


def test_a_refused_login_is_tried_once_for_all_its_meters(
    ours: FakeBmc, reach: Callable[..., MeterConfig], opened: Callable[[MeterConfig], Device]
) -> None:
    ours.password = "another"
    meter = reach(ours.url, PDU)
    told = read(opened(meter), meter, meter, meter)
    assert [isinstance(one, Lacks) and one.locked for one in told] == [True] * 3
    assert len(ours.asked) == 1 and PASSWORD not in str(told)


@pytest.mark.parametrize("how", ["slow", "drips"])
def test_a_round_ends_when_it_must(how: str, ours: FakeBmc, reach: Callable[..., MeterConfig], opened: Callable[[MeterConfig], Device]) -> None:
    ours.slow_s, ours.drips = (0.4, False) if how == "slow" else (0.0, True)
    meter = reach(ours.url, PDU)
    began_s = time.monotonic()
    told = read(opened(meter), *[meter] * 20, within_s=1.0)
    assert time.monotonic() - began_s < 2.0
    assert len(told) == 20 and isinstance(told[-1], Lacks) and "took too long" in told[-1].why


def test_files_that_cannot_be_used_stop_the_start_and_are_named(tmp_path: Path, proof: Certificate) -> None:
    open_file = tmp_path / "open"
    open_file.write_text("x\n")
    open_file.chmod(0o644)
    meter = MeterConfig("redfish", "https://pdu", PDU, user=USER, password_file=open_file)
    row = DomainConfig("row", 60e3, (NodeClass("h", ("n1",)),), meter=meter)
    with pytest.raises(ConfigError, match=r"domains: row: meter of row: .*others may read it; chmod 600"):
        Polling((row,), lambda event: True)
    open_file.chmod(0o600)
    with pytest.raises(ConfigError, match=r"ca_file: .*no-such\.pem"):
        Polling((replace(row, meter=replace(meter, ca_file=tmp_path / "no-such.pem")),), lambda event: True)


# Pages.


@pytest.mark.parametrize(
    ("series", "power_w"),
    [("pdu_power_watts", 12107.5), ('pdu_power_watts{pdu="a1"}', 12100.5), ('pdu_power_watts{ phase = "1", pdu="b1" }', 7.0)],
)
def test_series_with_the_labels_are_added_up(series: str, power_w: float) -> None:
    told = summed(MeterConfig("prometheus", "http://x", series=series), PAGE, 100.0, 1e9)
    assert told == Told(power_w, 100.0)


def test_a_sample_that_carries_its_time_is_as_old_as_that() -> None:
    """As on a Prometheus server's /federate."""
    page = 'p{a="1"} 5 999999997500\np{a="2"} 6 999999999000\n'
    assert summed(MeterConfig("prometheus", "http://x", series="p"), page, 100.0, 1e9) == Told(11.0, 97.5)


@pytest.mark.parametrize("page", ['p{a="1" 5', "p", "p{", 'p{a="1"} five'])
def test_a_line_that_cannot_be_read_is_no_reading(page: str) -> None:
    told = summed(MeterConfig("prometheus", "http://x", series="p"), page, 100.0, 1e9)
    assert isinstance(told, Lacks)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"status": 503}, "/metrics: answered 503"), ({"status": 302}, "/metrics: answered 302"), ({"body": b"\xff\xfe"}, "decode"),
        ({"body": b""}, "there is no such series"), ({"body": b" " * (9 << 20)}, "has more than 8388608 bytes"),
        ({"slow_s": 3.0}, "took too long"),
    ],
    ids=["503", "redirect", "binary", "empty", "9 MB", "slow"],
)
def test_a_page_that_is_none_says_why(
    changed: dict[str, object], says: str, exporter: Exporter, opened: Callable[[MeterConfig], Device]
) -> None:
    for name, value in changed.items():
        setattr(exporter, name, value)
    meter = MeterConfig("prometheus", exporter.url, series="pdu_power_watts")
    (told,) = read(opened(meter), meter, within_s=1.0)
    assert isinstance(told, Lacks) and says in told.why


def test_one_page_is_fetched_once_for_all_its_meters(exporter: Exporter, opened: Callable[[MeterConfig], Device]) -> None:
    meter = MeterConfig("prometheus", exporter.url, series="pdu_power_watts")
    assert all(isinstance(one, Told) for one in read(opened(meter), *[meter] * 5))
    assert exporter.asked == 1


# All together.


def test_polling_asks_each_device_and_tells_the_machine(ours: FakeBmc, exporter: Exporter, reach: Callable[..., MeterConfig]) -> None:
    page = MeterConfig("prometheus", exporter.url, series='pdu_power_watts{pdu="a1"}', scale=2.0, period_s=0.5)
    limits = (
        LimitConfig("a", 40e3, nodes=("n1",), meter=replace(reach(ours.url, f"{PDU}/Branches/A"), period_s=0.5)),
        LimitConfig("b", 40e3, nodes=("n2",), meter=replace(reach(ours.url, f"{PDU}/Nothing"), period_s=0.5)),
        LimitConfig("c", 40e3, nodes=("n3",), meter=MeterConfig("grpc")),
    )
    row = DomainConfig("row", 60e3, (NodeClass("h", ("n[1-3]",)),), meter=page, limits=limits)
    told = queue.Queue[MeterRead | MeterFailed]()
    polling = Polling((row,), lambda event: told.put(event) is None)
    seen = [told.get(timeout=10.0) for _ in range(9)]
    ended_s = time.monotonic()
    polling.close()
    assert time.monotonic() - ended_s < 1.0
    read_w = {event.limit: event.power_w for event in seen if isinstance(event, MeterRead)}
    assert read_w == {"row": pytest.approx(2 * 12100.5), "a": BRANCH_W[0]}
    assert {event.limit: event.reason for event in seen if isinstance(event, MeterFailed)} == {"b": f"{PDU}/Nothing: answered 404"}
    assert all(0.0 <= event.age_s < 1.0 for event in seen if isinstance(event, MeterRead))
    assert ours.connections == 1


def test_a_controller_reads_what_its_file_names_and_shows_it(
    ours: FakeBmc, reach: Callable[..., MeterConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at = reach(ours.url, PDU)
    meter = {
        "kind": "redfish", "url": at.url, "resource": PDU, "user": USER, "password_file": str(at.password_file), "ca_file": str(at.ca_file),
        "period_s": 0.5,
    }
    row = parse({"name": "row", "rating_w": 60e3, "classes": [{"name": "h", "nodes": ["n1"]}], "meter": meter}, DomainConfig)
    config = ControllerConfig(ledger_file=tmp_path / "ledger", keys_dir=tmp_path, domains=(row,), listen=Address("127.0.0.1", 0))
    with ControllerShell(config, {"n1": bytes(32)}) as shell:
        until_s = time.monotonic() + 20.0
        while (seen := shell.board.newest()) is None or not seen.cluster.domains[0].limits[0].meter.power_w > 0:
            assert time.monotonic() < until_s, seen
            time.sleep(0.05)
    (limit,) = seen.cluster.domains[0].limits
    assert limit.meter.power_w == TOTAL_W and limit.meter.kind == "redfish" and limit.foreign_w > 0
    assert PASSWORD not in caplog.text
