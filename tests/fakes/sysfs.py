"""This machine's device file system with InfiniBand ports beside what it has."""

from pathlib import Path

from gpuwarden.agent.collectors.infiniband import COUNTERS

REAL = Path("/sys")


def with_infiniband(folder: Path, ports: int) -> Path:
    """Makes `folder`: links to all of /sys but class/infiniband, which has so many adapters of one port each."""
    (folder / "class").mkdir(parents=True)
    _link(REAL, folder, "class")
    _link(REAL / "class", folder / "class", "infiniband")
    for place in range(ports):
        write_port(folder, f"mlx5_{place}", 1000 + place)
    return folder


def write_port(sys: Path, adapter: str, count: int) -> None:
    """Port 1 of an adapter at 400 Gb/s; each of its counters stands at `count`."""
    port = sys / "class" / "infiniband" / adapter / "ports" / "1"
    counters = {name: str(count) for names, _ in COUNTERS.values() for name in names}
    for name, text in {"state": "4: ACTIVE", "phys_state": "5: LinkUp", "rate": "400 Gb/sec (4X NDR)", **counters}.items():
        (port / name).parent.mkdir(parents=True, exist_ok=True)
        (port / name).write_text(text + "\n")


def _link(source: Path, target: Path, but: str) -> None:
    for entry in source.iterdir():
        if entry.name != but:
            (target / entry.name).symlink_to(entry)
