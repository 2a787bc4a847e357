"""InfiniBand and RoCE ports, from the counters that the kernel shows under /sys/class/infiniband.

Names: the kernel's Documentation/ABI/stable/sysfs-class-infiniband, and for hw_counters NVIDIA's "Understanding mlx5 Linux counters".
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.reading import DeviceReading, Reading, Unsupported
from gpuwarden.agent.sysfs import attribute
from gpuwarden.proto.catalogue import Device

_WORD_BYTES: Final = 4  # port_rcv_data and port_xmit_data count lanes' words
_RATE: Final = re.compile(r"([\d.]+) Gb/sec")

# Metric to the files that add up to it, and the factor.
COUNTERS: Final[dict[str, tuple[tuple[str, ...], int]]] = {
    "nic_receive_bytes_total": (("counters/port_rcv_data",), _WORD_BYTES),
    "nic_transmit_bytes_total": (("counters/port_xmit_data",), _WORD_BYTES),
    "nic_receive_packets_total": (("counters/port_rcv_packets",), 1),
    "nic_transmit_packets_total": (("counters/port_xmit_packets",), 1),
    "nic_transmit_wait_total": (("counters/port_xmit_wait",), 1),
    "nic_symbol_errors_total": (("counters/symbol_error",), 1),
    "nic_link_recovered_total": (("counters/link_error_recovery",), 1),
    "nic_link_downed_total": (("counters/link_downed",), 1),
    "nic_receive_errors_total": (("counters/port_rcv_errors",), 1),
    "nic_receive_remote_physical_errors_total": (("counters/port_rcv_remote_physical_errors",), 1),
    "nic_transmit_discards_total": (("counters/port_xmit_discards",), 1),
    "nic_link_integrity_errors_total": (("counters/local_link_integrity_errors",), 1),
    "nic_buffer_overrun_errors_total": (("counters/excessive_buffer_overrun_errors",), 1),
    "nic_out_of_sequence_total": (("hw_counters/out_of_sequence",), 1),
    "nic_ack_timeouts_total": (("hw_counters/local_ack_timeout_err",), 1),
    "nic_packet_sequence_errors_total": (("hw_counters/packet_seq_err",), 1),
    "nic_out_of_buffer_total": (("hw_counters/out_of_buffer",), 1),
    "nic_congestion_notifications_total": (("hw_counters/np_cnp_sent", "hw_counters/rp_cnp_handled"), 1),
}


class Infiniband:
    """Ports are looked for at every pass: an adapter that is reset goes and comes back."""

    name = "infiniband"

    def __init__(self, root: Path) -> None:
        self._root = root

    def collect(self) -> Reading:
        ports = sorted((adapter, int(port)) for adapter in _names(self._root) for port in _names(self._root / adapter / "ports"))
        devices = tuple(_device(self._root, index, *port) for index, port in enumerate(ports))
        missing = {name for name in COUNTERS for device in devices if name not in device.values}
        return Reading(devices, lacks=tuple(f"{name}: not counted by every port here" for name in sorted(missing)))

    def close(self) -> None:
        pass


def open(config: AgentConfig) -> Infiniband:
    """Raises Unsupported where there is no port."""
    root = config.sys / "class" / "infiniband"
    if not any(root.glob("*/ports/*")):
        raise Unsupported(f"{root}: this node has no InfiniBand or RoCE port")
    return Infiniband(root)


def _names(folder: Path) -> list[str]:
    """Empty where the adapter has just gone."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _device(root: Path, index: int, adapter: str, number: int) -> DeviceReading:
    port = f"{root}/{adapter}/ports/{number}"
    values = {**dict(_link(port)), **dict(_counters(port))}
    return DeviceReading(Device.NIC, f"{adapter}/{number}", index, values)


def _link(port: str) -> Iterator[tuple[str, float]]:
    state, physical, rate = (attribute(f"{port}/{name}") for name in ("state", "phys_state", "rate"))
    if state is not None and physical is not None:
        yield "nic_link_up", float(state.endswith("ACTIVE") and physical.endswith("LinkUp"))
    if rate is not None and (found := _RATE.match(rate)):
        yield "nic_rate_bits_per_second", float(found[1]) * 1e9


def _counters(port: str) -> Iterator[tuple[str, float]]:
    for metric, (names, factor) in COUNTERS.items():
        texts = [text for name in names if (text := attribute(f"{port}/{name}")) is not None and text.isdigit()]
        if texts:
            yield metric, float(factor * sum(map(int, texts)))
