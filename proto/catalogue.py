"""Every metric that telemetry may carry: its number on the wire, its Prometheus name, its unit and its kind.

Numbers are for ever: a number is never reused and never changes meaning. Names follow Prometheus (base units,
`_total` for counters) and are exported as `gpuwarden_<name>`. DCGM field ids are aliases for people who know them;
DCGM's numbers are stable across its renaming of constants, so the number is what stands here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final


class Device(IntEnum):
    """What a metric is read from. The value is the wire's `DeviceKind` number, and its hash: that of an Enum is a call into Python, and every sample takes a dozen."""

    GPU = 1
    HOST = 2
    NIC = 3


class Kind(Enum):
    """How a value behaves in time."""

    GAUGE = "gauge"
    COUNTER = "counter"  # grows; a fall is a reset. Travels as the increase since the agent started (float32 is exact to 2**24)
    STATE = "state"  # a code or a bit mask: compare, never average


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the catalogue. `dcgm` is the DCGM field id of the same quantity, if there is one."""

    number: int
    name: str
    device: Device
    kind: Kind
    meaning: str
    dcgm: int | None = None


BMC: Final = "host_bmc_"  # what a host's own BMC tells, and its kernel does not

_G, _H, _N = Device.GPU, Device.HOST, Device.NIC
_GAUGE, _COUNTER, _STATE = Kind.GAUGE, Kind.COUNTER, Kind.STATE

METRICS: Final[tuple[Metric, ...]] = (
    Metric(1, "gpu_power_watts", _G, _GAUGE, "board power, newest 25 ms sensor window", 157),
    Metric(2, "gpu_power_average_watts", _G, _GAUGE, "board power, 1 s average", 155),
    Metric(3, "gpu_power_limit_default_watts", _G, _GAUGE, "power limit after a driver load", 163),
    Metric(4, "gpu_power_limit_requested_watts", _G, _GAUGE, "power limit that user space asked for", 160),
    Metric(5, "gpu_power_limit_enforced_watts", _G, _GAUGE, "power limit in force, the lowest of all who set one", 164),
    Metric(6, "gpu_power_limit_min_watts", _G, _GAUGE, "lowest limit the card takes", 161),
    Metric(7, "gpu_power_limit_max_watts", _G, _GAUGE, "highest limit the card takes", 162),
    Metric(8, "gpu_energy_joules_total", _G, _COUNTER, "energy drawn by the board", 156),
    Metric(9, "gpu_sm_clock_hertz", _G, _GAUGE, "streaming multiprocessor clock", 100),
    Metric(10, "gpu_memory_clock_hertz", _G, _GAUGE, "memory clock", 101),
    Metric(11, "gpu_sm_clock_max_hertz", _G, _GAUGE, "highest SM clock of the card", 113),
    Metric(12, "gpu_utilization_ratio", _G, _GAUGE, "share of time with a kernel running", 203),
    Metric(13, "gpu_memory_utilization_ratio", _G, _GAUGE, "share of time with the memory controller busy", 204),
    Metric(14, "gpu_memory_used_bytes", _G, _GAUGE, "device memory in use", 252),
    Metric(15, "gpu_memory_total_bytes", _G, _GAUGE, "device memory", 250),
    Metric(16, "gpu_temperature_celsius", _G, _GAUGE, "core temperature", 150),
    Metric(17, "gpu_memory_temperature_celsius", _G, _GAUGE, "memory temperature", 140),
    Metric(18, "gpu_temperature_margin_celsius", _G, _GAUGE, "degrees left before the card slows down", 153),
    Metric(19, "gpu_throttle_reasons", _G, _STATE, "NVML clocks-event reason bits", 112),
    Metric(20, "gpu_throttle_power_seconds_total", _G, _COUNTER, "time held back by the power limit", 1420),
    Metric(21, "gpu_throttle_thermal_seconds_total", _G, _COUNTER, "time held back by temperature (policy counter)"),
    Metric(22, "gpu_throttle_software_thermal_seconds_total", _G, _COUNTER, "time in software thermal slowdown", 1422),
    Metric(23, "gpu_throttle_hardware_thermal_seconds_total", _G, _COUNTER, "time in hardware thermal slowdown", 1423),
    Metric(24, "gpu_throttle_power_brake_seconds_total", _G, _COUNTER, "time in hardware power brake", 1424),
    Metric(25, "gpu_ecc_corrected_volatile_total", _G, _COUNTER, "corrected memory errors since driver load", 310),
    Metric(26, "gpu_ecc_uncorrected_volatile_total", _G, _COUNTER, "uncorrected memory errors since driver load", 311),
    Metric(27, "gpu_ecc_corrected_aggregate_total", _G, _COUNTER, "corrected memory errors in the card's life", 312),
    Metric(28, "gpu_ecc_uncorrected_aggregate_total", _G, _COUNTER, "uncorrected memory errors in the card's life", 313),
    Metric(29, "gpu_remapped_rows_corrected", _G, _GAUGE, "rows remapped for corrected errors", 394),
    Metric(30, "gpu_remapped_rows_uncorrected", _G, _GAUGE, "rows remapped for uncorrected errors", 393),
    Metric(31, "gpu_row_remap_pending", _G, _STATE, "1: a row remap waits for a GPU reset", 395),
    Metric(32, "gpu_row_remap_failure", _G, _STATE, "1: a row remap has failed", 396),
    Metric(33, "gpu_nvlink_active_links", _G, _GAUGE, "NVLinks that are up"),
    Metric(34, "gpu_nvlink_errors_total", _G, _COUNTER, "NVLink replay, recovery and CRC errors, all links"),
    Metric(35, "gpu_pcie_replays_total", _G, _COUNTER, "PCIe replays", 202),
    Metric(36, "gpu_pcie_generation", _G, _GAUGE, "PCIe generation in use", 237),
    Metric(37, "gpu_pcie_width_lanes", _G, _GAUGE, "PCIe lanes in use", 238),
    Metric(38, "gpu_pcie_generation_max", _G, _GAUGE, "PCIe generation that card and slot can do", 235),
    Metric(39, "gpu_pcie_width_max_lanes", _G, _GAUGE, "PCIe lanes that card and slot can do", 236),
    Metric(40, "gpu_pcie_receive_bytes_per_second", _G, _GAUGE, "PCIe traffic to the card", 201),
    Metric(41, "gpu_pcie_transmit_bytes_per_second", _G, _GAUGE, "PCIe traffic from the card", 200),
    Metric(42, "gpu_recovery_action", _G, _STATE, "NVIDIA's verdict, field 230: 0 none, 1 reset, 2 reboot, ...", 1523),
    Metric(43, "gpu_xid_errors_total", _G, _COUNTER, "XID events seen by this agent"),
    Metric(44, "gpu_persistence_mode", _G, _STATE, "1: the driver stays loaded when idle", 66),
    Metric(45, "gpu_performance_state", _G, _STATE, "P-state, 0 fastest", 190),
    Metric(46, "gpu_processes", _G, _GAUGE, "compute processes on the card"),
    Metric(47, "gpu_lost", _G, _STATE, "1: the driver no longer reaches the card"),
    Metric(48, "gpu_capped_by_us", _G, _STATE, "1: the limit in force is one that gpuwarden's limiter has set"),
    Metric(49, "gpu_sample_age_seconds", _G, _GAUGE, "age of the newest good reading of this card"),
    Metric(50, "gpu_energy_since_load_joules", _G, _GAUGE, "the driver's own energy counter; joins two starts of an agent"),
    Metric(200, "host_cpu_utilization_ratio", _H, _GAUGE, "share of CPU time not idle"),
    Metric(201, "host_cpu_iowait_ratio", _H, _GAUGE, "share of CPU time waiting for disks"),
    Metric(202, "host_cpu_system_ratio", _H, _GAUGE, "share of CPU time in the kernel"),
    Metric(203, "host_load1", _H, _GAUGE, "runnable and blocked tasks, 1 min"),
    Metric(204, "host_load5", _H, _GAUGE, "runnable and blocked tasks, 5 min"),
    Metric(205, "host_context_switches_total", _H, _COUNTER, "context switches"),
    Metric(206, "host_processes_running", _H, _GAUGE, "tasks running"),
    Metric(207, "host_processes_blocked", _H, _GAUGE, "tasks blocked on I/O"),
    Metric(208, "host_memory_total_bytes", _H, _GAUGE, "memory"),
    Metric(209, "host_memory_available_bytes", _H, _GAUGE, "memory that can be had without swapping"),
    Metric(210, "host_memory_dirty_bytes", _H, _GAUGE, "memory waiting to be written"),
    Metric(211, "host_swap_used_bytes", _H, _GAUGE, "swap in use"),
    Metric(212, "host_pressure_cpu_ratio", _H, _GAUGE, "PSI cpu, some, 10 s"),
    Metric(213, "host_pressure_memory_ratio", _H, _GAUGE, "PSI memory, some, 10 s"),
    Metric(214, "host_pressure_io_ratio", _H, _GAUGE, "PSI io, some, 10 s"),
    Metric(215, "host_page_faults_major_total", _H, _COUNTER, "page faults that read a disk"),
    Metric(216, "host_disk_read_bytes_total", _H, _COUNTER, "bytes read from disks"),
    Metric(217, "host_disk_written_bytes_total", _H, _COUNTER, "bytes written to disks"),
    Metric(218, "host_disk_busy_seconds_total", _H, _COUNTER, "time disks were busy, summed over disks"),
    Metric(219, "host_network_receive_bytes_total", _H, _COUNTER, "bytes received, all but loopback"),
    Metric(220, "host_network_transmit_bytes_total", _H, _COUNTER, "bytes sent, all but loopback"),
    Metric(221, "host_network_errors_total", _H, _COUNTER, "receive and transmit errors, all but loopback"),
    Metric(222, "host_network_drops_total", _H, _COUNTER, "packets dropped, all but loopback"),
    Metric(223, "host_temperature_max_celsius", _H, _GAUGE, "hottest hwmon sensor"),
    Metric(224, "host_fan_min_rpm", _H, _GAUGE, "slowest hwmon fan"),
    Metric(225, "host_cpu_power_watts", _H, _GAUGE, "RAPL packages and DRAM"),
    Metric(226, "host_cpu_energy_joules_total", _H, _COUNTER, "RAPL packages and DRAM"),
    Metric(227, "host_cpu_clock_mean_hertz", _H, _GAUGE, "mean of the cores' clocks"),
    Metric(228, "host_cpu_clock_min_hertz", _H, _GAUGE, "slowest core's clock"),
    Metric(229, "host_cpu_governor_performance_ratio", _H, _GAUGE, "share of cores whose governor is `performance`"),
    Metric(230, "host_file_descriptors", _H, _GAUGE, "file handles in use"),
    Metric(231, "host_uptime_seconds", _H, _GAUGE, "time since boot"),
    Metric(232, "host_power_watts", _H, _GAUGE, "power of the whole node, where something measures it"),
    Metric(233, "host_bmc_power_watts", _H, _GAUGE, "power of the whole chassis, measured out of band"),
    Metric(234, "host_bmc_power_limit_watts", _H, _GAUGE, "limit on the chassis that the BMC itself enforces"),
    Metric(235, "host_bmc_power_on", _H, _STATE, "1: the chassis' power state is On"),
    Metric(236, "host_bmc_supply_input_watts", _H, _GAUGE, "input of all power supplies; only where every one tells it"),
    Metric(237, "host_bmc_supply_input_min_watts", _H, _GAUGE, "input of the power supply that draws least"),
    Metric(238, "host_bmc_supplies", _H, _GAUGE, "power supplies that tell their input"),
    Metric(239, "host_bmc_fan_min_rpm", _H, _GAUGE, "slowest chassis fan"),
    Metric(240, "host_bmc_inlet_celsius", _H, _GAUGE, "air that the chassis takes in, hottest sensor"),
    Metric(241, "host_bmc_age_seconds", _H, _GAUGE, "time since the BMC was asked for what is shown"),
    Metric(300, "nic_link_up", _N, _STATE, "1: port state ACTIVE and physical state LinkUp"),
    Metric(301, "nic_rate_bits_per_second", _N, _GAUGE, "negotiated link rate"),
    Metric(302, "nic_receive_bytes_total", _N, _COUNTER, "port_rcv_data"),
    Metric(303, "nic_transmit_bytes_total", _N, _COUNTER, "port_xmit_data"),
    Metric(304, "nic_receive_packets_total", _N, _COUNTER, "port_rcv_packets"),
    Metric(305, "nic_transmit_packets_total", _N, _COUNTER, "port_xmit_packets"),
    Metric(306, "nic_transmit_wait_total", _N, _COUNTER, "port_xmit_wait: ticks with data and no credits"),
    Metric(307, "nic_symbol_errors_total", _N, _COUNTER, "symbol_error"),
    Metric(308, "nic_link_recovered_total", _N, _COUNTER, "link_error_recovery"),
    Metric(309, "nic_link_downed_total", _N, _COUNTER, "link_downed"),
    Metric(310, "nic_receive_errors_total", _N, _COUNTER, "port_rcv_errors"),
    Metric(311, "nic_receive_remote_physical_errors_total", _N, _COUNTER, "port_rcv_remote_physical_errors"),
    Metric(312, "nic_transmit_discards_total", _N, _COUNTER, "port_xmit_discards"),
    Metric(313, "nic_link_integrity_errors_total", _N, _COUNTER, "local_link_integrity_errors"),
    Metric(314, "nic_buffer_overrun_errors_total", _N, _COUNTER, "excessive_buffer_overrun_errors"),
    Metric(315, "nic_out_of_sequence_total", _N, _COUNTER, "RoCE and IB out_of_sequence"),
    Metric(316, "nic_ack_timeouts_total", _N, _COUNTER, "local_ack_timeout_err"),
    Metric(317, "nic_packet_sequence_errors_total", _N, _COUNTER, "packet_seq_err"),
    Metric(318, "nic_out_of_buffer_total", _N, _COUNTER, "out_of_buffer"),
    Metric(319, "nic_congestion_notifications_total", _N, _COUNTER, "np_cnp_sent and rp_cnp_handled"),
)


def _unique(metrics: Iterable[Metric]) -> Mapping[str, Metric]:
    by_name = {metric.name: metric for metric in metrics}
    assert len(by_name) == len({m.number for m in by_name.values()}) == len(METRICS), "a name or number occurs twice"
    return MappingProxyType(by_name)


BY_NAME: Final[Mapping[str, Metric]] = _unique(METRICS)
BY_NUMBER: Final[Mapping[int, Metric]] = MappingProxyType({metric.number: metric for metric in METRICS})
COLUMNS: Final[Mapping[Device, tuple[Metric, ...]]] = MappingProxyType(
    {device: tuple(m for m in METRICS if m.device is device) for device in Device}
)
