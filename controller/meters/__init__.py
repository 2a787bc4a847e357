"""Where meters are read: a kind is one file and one line of KINDS, and its keys in `power.meter_config.NEEDS`."""

from collections.abc import Callable, Mapping
from typing import Final

from gpuwarden.controller.meters import prometheus, redfish
from gpuwarden.controller.meters.device import Device
from gpuwarden.controller.power.meter_config import MeterConfig

KINDS: Final[Mapping[str, Callable[[MeterConfig], Device] | None]] = {
    "grpc": None,
    "prometheus": prometheus.open,
    "redfish": redfish.open,
}
"""What opens the device that a meter is read from; None: others report it. ConfigError where what is configured cannot be used."""
