"""What /proc tells of a node. Each function reads one file under `proc` and returns catalogue values, or raises OSError.

Layouts: proc(5) and the kernel's Documentation/admin-guide/iostats.rst and Documentation/accounting/psi.rst.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

Values = dict[str, float]

_SECTOR_BYTES: Final = 512  # of /proc/diskstats, whatever the disk's own
_MEMORY: Final = {
    "MemTotal": "host_memory_total_bytes",
    "MemAvailable": "host_memory_available_bytes",
    "Dirty": "host_memory_dirty_bytes",
}
_STAT: Final = {
    "ctxt": "host_context_switches_total",
    "procs_running": "host_processes_running",
    "procs_blocked": "host_processes_blocked",
}


def _text(proc: Path, name: str) -> str:
    """Not by pathlib, which interns every part of every path: the interpreter's table of those grows with what comes and goes."""
    with open(f"{proc}/{name}", encoding="ascii", errors="replace") as file:
        return file.read()


def cpu_times(proc: Path) -> tuple[int, ...]:
    """user, nice, system, idle, iowait, irq, softirq, steal: ticks since boot, over all CPUs."""
    first = _text(proc, "stat").split("\n", 1)[0].split()
    return tuple(map(int, first[1:9]))


def cpu_ratios(before: tuple[int, ...], now: tuple[int, ...]) -> Values:
    """Shares of the time between two readings; nothing if none has passed."""
    spent = [b - a for a, b in zip(before, now, strict=True)]
    if (total := sum(spent)) <= 0:
        return {}
    return {
        "host_cpu_utilization_ratio": 1.0 - (spent[3] + spent[4]) / total,
        "host_cpu_iowait_ratio": spent[4] / total,
        "host_cpu_system_ratio": spent[2] / total,
    }


def stat(proc: Path) -> Values:
    rows = (line.split() for line in _text(proc, "stat").splitlines())
    return {_STAT[row[0]]: float(row[1]) for row in rows if row and row[0] in _STAT}


def load(proc: Path) -> Values:
    one, five = _text(proc, "loadavg").split()[:2]
    return {"host_load1": float(one), "host_load5": float(five)}


def memory(proc: Path) -> Values:
    rows = (line.split(":") for line in _text(proc, "meminfo").splitlines())
    kib = {name: float(rest.split()[0]) for name, rest in rows}
    values = {metric: 1024 * kib[name] for name, metric in _MEMORY.items() if name in kib}
    return {**values, "host_swap_used_bytes": 1024 * (kib.get("SwapTotal", 0.0) - kib.get("SwapFree", 0.0))}


def _pressure(resource: str) -> Callable[[Path], Values]:
    def read(proc: Path) -> Values:
        some = _text(proc, f"pressure/{resource}").splitlines()[0].split()
        average = dict(field.split("=") for field in some[1:])["avg10"]
        return {f"host_pressure_{resource}_ratio": float(average) / 100}

    return read


def faults(proc: Path) -> Values:
    rows = dict(line.split() for line in _text(proc, "vmstat").splitlines())
    return {"host_page_faults_major_total": float(rows["pgmajfault"])}


def disks(proc: Path, sys: Path) -> Values:
    """Whole disks that are hardware: partitions, loops and device mappers would count the same bytes twice."""
    rows = [line.split() for line in _text(proc, "diskstats").splitlines()]
    real = [row for row in rows if os.path.exists(f"{sys}/block/{row[2]}/device")]
    if not real:
        return {}
    return {
        "host_disk_read_bytes_total": float(sum(_SECTOR_BYTES * int(row[5]) for row in real)),
        "host_disk_written_bytes_total": float(sum(_SECTOR_BYTES * int(row[9]) for row in real)),
        "host_disk_busy_seconds_total": sum(int(row[12]) for row in real) / 1000,
    }


def network(proc: Path) -> Values:
    lines = (line.split(":") for line in _text(proc, "net/dev").splitlines()[2:])
    rows = [list(map(int, rest.split())) for name, rest in lines if name.strip() != "lo"]
    return {
        "host_network_receive_bytes_total": float(sum(row[0] for row in rows)),
        "host_network_transmit_bytes_total": float(sum(row[8] for row in rows)),
        "host_network_errors_total": float(sum(row[2] + row[10] for row in rows)),
        "host_network_drops_total": float(sum(row[3] + row[11] for row in rows)),
    }


def files(proc: Path) -> Values:
    return {"host_file_descriptors": float(_text(proc, "sys/fs/file-nr").split()[0])}


def uptime(proc: Path) -> Values:
    return {"host_uptime_seconds": float(_text(proc, "uptime").split()[0])}


SOURCES: Final[tuple[Callable[[Path], Values], ...]] = (
    stat, load, memory, faults, network, files, uptime, *map(_pressure, ("cpu", "memory", "io")),
)
