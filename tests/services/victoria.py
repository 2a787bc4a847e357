"""A real VictoriaMetrics from Debian, with its data in a folder of the caller's."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.port import free_port, wait_until_open

START_S = 30.0


@dataclass(frozen=True, slots=True)
class Victoria:
    """One that is up."""

    url: str
    server: subprocess.Popen[bytes]


@contextmanager
def running(folder: Path) -> Iterator[Victoria]:
    """It names a metric as the field is named, without the measurement, and keeps samples of any age."""
    port = free_port()
    command = [
        "victoria-metrics", f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}",
        "-influxSkipMeasurement", "-retentionPeriod=100y",
    ]  # fmt: skip
    with (folder / "out").open("ab") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        wait_until_open(port, server, folder / "out", START_S)
        yield Victoria(f"http://127.0.0.1:{port}", server)
    finally:
        server.kill()
        server.wait()
