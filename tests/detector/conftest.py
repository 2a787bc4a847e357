"""Nodes as an agent would tell of them, for the detector's tests: a healthy one, and what is to be wrong with it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from gpuwarden.detector.events import Action, Polled, PublishFinding, Raw, Tick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity
from gpuwarden.proto.telemetry_pb2 import Block, DeviceEvent, GpuProcess

EPOCH_NS = 1_700_000_000_000_000_000

GPU = {
    "gpu_power_watts": 650.0, "gpu_power_limit_enforced_watts": 700.0, "gpu_power_limit_default_watts": 700.0,
    "gpu_sm_clock_hertz": 1.9e9, "gpu_utilization_ratio": 0.99, "gpu_temperature_celsius": 62.0,
    "gpu_memory_temperature_celsius": 70.0, "gpu_throttle_reasons": 0.0, "gpu_throttle_hardware_thermal_seconds_total": 0.0,
    "gpu_throttle_power_brake_seconds_total": 0.0, "gpu_ecc_corrected_volatile_total": 0.0,
    "gpu_ecc_uncorrected_volatile_total": 0.0, "gpu_ecc_uncorrected_aggregate_total": 0.0, "gpu_row_remap_pending": 0.0,
    "gpu_row_remap_failure": 0.0, "gpu_nvlink_active_links": 18.0, "gpu_nvlink_errors_total": 0.0, "gpu_pcie_replays_total": 0.0,
    "gpu_pcie_generation": 5.0, "gpu_pcie_width_lanes": 16.0, "gpu_pcie_generation_max": 5.0, "gpu_pcie_width_max_lanes": 16.0,
    "gpu_recovery_action": 0.0, "gpu_lost": 0.0, "gpu_capped_by_us": 0.0,
}
HOST = {"host_uptime_seconds": 1e6, "host_cpu_governor_performance_ratio": 1.0, "host_network_errors_total": 0.0}
NIC = {
    "nic_link_up": 1.0, "nic_rate_bits_per_second": 4e11, "nic_symbol_errors_total": 0.0, "nic_link_downed_total": 0.0,
    "nic_receive_errors_total": 0.0, "nic_out_of_sequence_total": 0.0,
}


@dataclass
class FakeAgent:
    """Counts its records as an agent does. `ids` may be taken from and put back; so may whole kinds of devices."""

    node: str = "gpu01"
    start: str = "start-a"
    sequence: int = 0
    unix_ns: int = EPOCH_NS
    ids: dict[Device, list[str]] = field(default_factory=lambda: {
        Device.GPU: [f"GPU-{i}" for i in range(8)], Device.NIC: ["mlx5_0/1"],
    })

    def record(
        self, wrong: Mapping[tuple[str, str], float] | None = None, events: Iterable[DeviceEvent] = (),
        processes: Iterable[GpuProcess] = (), period_s: float = 1.0,
    ) -> bytes:
        """The next one. `wrong` maps (device id, metric) to a value other than the healthy one."""
        self.sequence += 1
        self.unix_ns += int(period_s * 1e9)
        blocks = [self._block(device, ids, healthy, wrong or {}) for device, ids, healthy in self._kinds() if ids]
        return encode(self.node, self.start, self.sequence, self.unix_ns, blocks, processes, events)

    def _kinds(self) -> Iterator[tuple[Device, list[str], dict[str, float]]]:
        yield Device.GPU, self.ids[Device.GPU], GPU
        yield Device.NIC, self.ids[Device.NIC], NIC
        yield Device.HOST, [self.node], HOST

    def _block(
        self, device: Device, ids: list[str], healthy: Mapping[str, float], wrong: Mapping[tuple[str, str], float]
    ) -> Block:
        rows = [[wrong.get((i, name), value) for name, value in healthy.items()] for i in ids]
        return encode_block(device, ids, [BY_NAME[name] for name in healthy], rows)


@dataclass
class Story:
    """A detector and its clock; `lines` tells what it published, one sentence a finding."""

    detector: Detector
    now_s: float = 1000.0
    offset: int = 0
    findings: list[Finding] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def send(self, *payloads: bytes, key: str = "gpu01", pass_s: float = 1.0) -> list[Action]:
        return self.poll([(key, payload) for payload in payloads], pass_s)

    def poll(self, records: Sequence[tuple[str, bytes]], pass_s: float = 1.0) -> list[Action]:
        """Of several nodes, by key."""
        self.now_s += pass_s
        raws = tuple(Raw(0, self.offset + i, key, payload) for i, (key, payload) in enumerate(records))
        self.offset += len(raws)
        return self._keep(self.detector.step(self.now_s, Polled(raws)))

    def tick(self, pass_s: float = 1.0) -> list[Action]:
        self.now_s += pass_s
        return self._keep(self.detector.step(self.now_s, Tick(EPOCH_NS + int(self.now_s * 1e9))))

    def _keep(self, actions: list[Action]) -> list[Action]:
        self.actions += actions
        self.findings += [Finding.FromString(a.payload) for a in actions if isinstance(a, PublishFinding)]
        return actions

    @property
    def lines(self) -> list[str]:
        return [sentence(finding) for finding in self.findings]


def sentence(finding: Finding) -> str:
    subject = "/".join(filter(None, (finding.subject.node, finding.subject.id)))
    state = FindingState.Name(finding.state).removeprefix("FINDING_STATE_").lower()
    severity = Severity.Name(finding.severity).removeprefix("SEVERITY_").lower()
    return f"{state} {severity} {finding.kind} on {subject}: {finding.summary}"


@pytest.fixture
def story() -> Story:
    return Story(Detector(DetectorSetup()))


@pytest.fixture
def agent() -> FakeAgent:
    return FakeAgent()


@pytest.fixture
def agent_of() -> Callable[..., FakeAgent]:
    """For tests with more than one, or one that is started anew."""
    return FakeAgent
