"""The host collector on a tree of /proc and /sys files: each number is what the files say, and a missing file takes only its own away."""

import shutil
import sys
from pathlib import Path

import pytest

from gpuwarden.agent.collectors import host
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.jobs import Jobs
from gpuwarden.agent.reading import Unsupported
from gpuwarden.proto.catalogue import BY_NAME, Device

FILES = {
    "proc/stat": "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 800 50 0 0 0 0 0\nctxt 123456\nprocs_running 3\nprocs_blocked 1\n",
    "proc/loadavg": "2.50 1.25 0.75 3/400 1234\n",
    "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 600 kB\nDirty: 8 kB\nSwapTotal: 100 kB\nSwapFree: 75 kB\nHugePages_Total: 0\n",
    "proc/pressure/cpu": "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=9.00 avg60=0.00 avg300=0.00 total=1\n",
    "proc/pressure/io": "some avg10=25.00 avg60=0.00 avg300=0.00 total=1\n",
    "proc/vmstat": "nr_free_pages 1\npgmajfault 77\n",
    "proc/diskstats": " 8 0 sda 1 0 10 5 2 0 20 6 0 1500 9\n 8 1 sda1 1 0 10 5 2 0 20 6 0 1500 9\n 7 0 loop0 1 0 10 5 2 0 20 6 0 1500 9\n",
    "proc/net/dev": (
        "Inter-|   Receive\n face |bytes\n"
        "    lo: 999 9 9 9 0 0 0 0 999 9 9 9 0 0 0 0\n"
        "  eth0: 1000 1 2 3 0 0 0 0 2000 1 4 5 0 0 0 0\n"
        "  eth1:   10 1 0 0 0 0 0 0   20 1 0 0 0 0 0 0\n"
    ),
    "proc/sys/fs/file-nr": "1024\t0\t9223372\n",
    "proc/uptime": "3600.50 1000.00\n",
    "sys/block/sda/device/model": "disk\n",
    "sys/block/loop0/size": "1\n",
    "sys/class/hwmon/hwmon0/name": "coretemp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "45000\n",
    "sys/class/hwmon/hwmon0/temp2_input": "61500\n",
    "sys/class/hwmon/hwmon1/name": "power_meter\n",
    "sys/class/hwmon/hwmon1/power1_average": "4200000000\n",
    "sys/class/hwmon/hwmon1/fan1_input": "5400\n",
    "sys/class/hwmon/hwmon1/fan2_input": "0\n",
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "9000000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "10000000\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "5\n",
    "sys/class/powercap/intel-rapl:0:0/max_energy_range_uj": "10000000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "3000000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1000000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave\n",
}

EXPECTED = {
    "host_context_switches_total": 123456, "host_processes_running": 3, "host_processes_blocked": 1,
    "host_load1": 2.5, "host_load5": 1.25,
    "host_memory_total_bytes": 1024000, "host_memory_available_bytes": 614400, "host_memory_dirty_bytes": 8192,
    "host_swap_used_bytes": 25600,
    "host_pressure_cpu_ratio": 0.015, "host_pressure_memory_ratio": 0.0, "host_pressure_io_ratio": 0.25,
    "host_page_faults_major_total": 77,
    "host_disk_read_bytes_total": 5120, "host_disk_written_bytes_total": 10240, "host_disk_busy_seconds_total": 1.5,
    "host_network_receive_bytes_total": 1010, "host_network_transmit_bytes_total": 2020,
    "host_network_errors_total": 6, "host_network_drops_total": 8,
    "host_file_descriptors": 1024, "host_uptime_seconds": 3600.5,
    "host_temperature_max_celsius": 61.5, "host_fan_min_rpm": 0, "host_power_watts": 4200,
    "host_cpu_clock_mean_hertz": 2e9, "host_cpu_clock_min_hertz": 1e9, "host_cpu_governor_performance_ratio": 0.5,
}


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return AgentConfig(node="n1", proc=tmp_path / "proc", sys=tmp_path / "sys")


def test_every_number_is_what_the_files_say(config: AgentConfig) -> None:
    (device,) = host.open(config).collect().devices
    assert (device.device, device.id) == (Device.HOST, "n1")
    values = dict(device.values)
    energy_j = values.pop("host_cpu_energy_joules_total")
    assert values == pytest.approx(EXPECTED) and energy_j == 0.0


def test_shares_of_cpu_time_and_cpu_power_are_of_the_time_between_two_passes(config: AgentConfig) -> None:
    made = host.open(config)
    made.collect()
    (config.proc / "stat").write_text("cpu  150 0 70 820 60 0 0 0 0 0\nctxt 1\n")
    (config.sys / "class/powercap/intel-rapl:0/energy_uj").write_text("1500000\n")  # it wrapped at 10 J
    (device,) = made.collect().devices
    assert device.values["host_cpu_utilization_ratio"] == pytest.approx(0.7)
    assert device.values["host_cpu_iowait_ratio"] == pytest.approx(0.1)
    assert device.values["host_cpu_system_ratio"] == pytest.approx(0.2)
    assert device.values["host_cpu_energy_joules_total"] == pytest.approx(2.5)
    assert device.values["host_cpu_power_watts"] > 0


def test_nothing_is_lacking_where_everything_is_there(config: AgentConfig) -> None:
    made = host.open(config)
    made.collect()
    assert made.collect().lacks == ()


def test_a_file_that_is_missing_or_strange_takes_only_its_own_metrics_away(config: AgentConfig) -> None:
    shutil.rmtree(config.proc / "pressure")
    shutil.rmtree(config.sys / "class/hwmon")
    (config.proc / "loadavg").write_text("what\n")
    reading = host.open(config).collect()
    (device,) = reading.devices
    gone = {n for n in EXPECTED if "pressure" in n or "load" in n} | {"host_temperature_max_celsius", "host_fan_min_rpm", "host_power_watts"}
    assert EXPECTED.keys() - device.values.keys() == gone
    for name in gone:
        assert any(line.startswith(f"{name}:") for line in reading.lacks)
    assert any("No such file" in line for line in reading.lacks)


def test_no_proc_means_no_host_collector(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="stat"):
        host.open(AgentConfig(proc=tmp_path, sys=tmp_path))


def test_on_this_machine_it_reads_metrics_of_the_catalogue() -> None:
    (device,) = host.open(AgentConfig(node="n1")).collect().devices
    assert {"host_load1", "host_memory_total_bytes", "host_uptime_seconds"} <= device.values.keys()
    assert all(BY_NAME[name].device is Device.HOST for name in device.values)


def test_a_pass_interns_no_name(config: AgentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter's table of interned strings doubles now and then when names come and go: an agent that runs for months would grow by megabytes."""
    collector, jobs, interned = host.open(config), Jobs(config.proc), list[str]()
    monkeypatch.setattr(sys, "intern", interned.append)
    collector.collect()
    jobs.of(1)
    assert interned == []
