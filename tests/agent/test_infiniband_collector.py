"""The InfiniBand collector on a tree of sysfs files."""

from pathlib import Path

import pytest
from fakes.sysfs import write_port

from gpuwarden.agent.collectors import infiniband
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.reading import DeviceReading, Reading, Unsupported
from gpuwarden.proto.catalogue import COLUMNS, Device

ETHERNET_TOO = ("mlx5_0", "mlx5_2", "mlx5_10")


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    for place, hca in enumerate(ETHERNET_TOO):
        write_port(tmp_path, hca, 1000 + place)
    return tmp_path


def read(sys: Path) -> Reading:
    return infiniband.open(AgentConfig(sys=sys)).collect()


def values(sys: Path, hca: str) -> DeviceReading:
    (found,) = (device for device in read(sys).devices if device.id == f"{hca}/1")
    return found


def test_every_metric_of_a_port_is_read_and_ports_are_in_order(sys: Path) -> None:
    reading = read(sys)
    assert [(d.id, d.index) for d in reading.devices] == [("mlx5_0/1", 0), ("mlx5_10/1", 1), ("mlx5_2/1", 2)]
    assert {m.name for m in COLUMNS[Device.NIC]} == reading.devices[0].values.keys()
    assert reading.lacks == ()


def test_units_are_the_catalogues(sys: Path) -> None:
    port = values(sys, "mlx5_0").values
    assert port["nic_rate_bits_per_second"] == 400e9
    assert port["nic_receive_bytes_total"] == 4000  # the files count words of four bytes
    assert port["nic_receive_packets_total"] == 1000
    assert port["nic_congestion_notifications_total"] == 2000  # sent and handled


@pytest.mark.parametrize(("state", "physical", "up"), [("4: ACTIVE", "5: LinkUp", 1), ("1: DOWN", "3: Disabled", 0), ("2: INIT", "5: LinkUp", 0)])
def test_a_link_is_up_when_it_is_active_and_physically_up(sys: Path, state: str, physical: str, up: int) -> None:
    write(sys / "class/infiniband/mlx5_0/ports/1", {"state": state, "phys_state": physical})
    assert values(sys, "mlx5_0").values["nic_link_up"] == up


def test_a_counter_that_a_port_does_not_have_is_lacking_and_the_rest_is_there(sys: Path) -> None:
    (sys / "class/infiniband/mlx5_2/ports/1/hw_counters/out_of_sequence").unlink()
    assert "nic_out_of_sequence_total" not in values(sys, "mlx5_2").values
    assert "nic_ack_timeouts_total" in values(sys, "mlx5_2").values
    assert read(sys).lacks == ("nic_out_of_sequence_total: not counted by every port here",)


def test_without_a_port_it_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no InfiniBand"):
        infiniband.open(AgentConfig(sys=tmp_path))
