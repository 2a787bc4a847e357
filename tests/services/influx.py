"""A real InfluxDB 2, built from its Go module and the Rust library that it links, with its data in a folder of the caller's.

Standard library only, as install.py is.
"""

import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cache import cached
from services.certificate import Certificate
from services.port import free_port, wait_until_open
from services.toolchain import lacks

VERSION = "v2.7.12"
BUILD = "github.com/influxdata/influxdb/v2/cmd/influxd"
# The `replace` is InfluxDB's own: such lines count in the main module only.
GO_MOD = f"""module influxd

go 1.23.0

require github.com/influxdata/influxdb/v2 {VERSION}

replace github.com/nats-io/nats-streaming-server v0.11.2 => github.com/influxdata/nats-streaming-server v0.11.3-0.20201112040610-c277f7560803
"""
TOOLS = f'//go:build tools\n\npackage tools\n\nimport _ "{BUILD}"\n'
PKG_CONFIG = "github.com/influxdata/pkg-config@v0.2.7"  # tells cgo where the Rust library is, and builds that first
CAP_LINTS = '#!/bin/sh\nexec "$@" --cap-lints=warn\n'  # what newer compilers warn of is an error there
RECIPE = f"{GO_MOD}\n{TOOLS}\n{PKG_CONFIG}\n{CAP_LINTS}".encode()
NEEDED = {"go": ("go", "version"), "cargo": ("cargo", "--version")}
OLDEST = {"go": (1, 23), "cargo": (1, 72)}

START_S = 60.0
ORG, BUCKET, TOKEN = "cluster", "telemetry", "a-token-for-tests-only"


@dataclass(frozen=True, slots=True)
class Influx:
    """One that is up and set up: ORG, BUCKET and TOKEN are there."""

    url: str
    server: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL: what a crash does."""
        self.server.kill()
        self.server.wait()


def lacking() -> str:
    """What this machine needs to build it and has not, as a sentence; '' where it has all."""
    lines = (lacks("InfluxDB", program, version, OLDEST[program]) for program, version in NEEDED.items())
    return "; ".join(line for line in lines if line)


def install() -> Path:
    """The program, built (some minutes) if it is not there yet."""
    return cached("influxdb", RECIPE, _build) / "influxd"


def _build(folder: Path) -> None:
    sys.stderr.write(f"building InfluxDB {VERSION} with go and cargo: once, six minutes on two cores\n")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        work = Path(scratch)
        (work / "go.mod").write_text(GO_MOD)
        (work / "tools.go").write_text(TOOLS)
        wrapper = work / "cap-lints"
        wrapper.write_text(CAP_LINTS)
        wrapper.chmod(0o755)
        environment = _environment(work, wrapper)
        subprocess.run(["go", "install", PKG_CONFIG], cwd=work, env={**environment, "GOFLAGS": ""}, check=True)
        tags = "sqlite_foreign_keys,sqlite_json,noassets"
        subprocess.run(["go", "build", "-tags", tags, "-o", str(folder / "influxd"), BUILD], cwd=work, env=environment, check=True)


def _environment(work: Path, wrapper: Path) -> dict[str, str]:
    tools = work / "bin"
    made = {
        **os.environ,
        "PATH": f"{tools}:{os.environ.get('PATH', '')}", "GOBIN": str(tools), "PKG_CONFIG": str(tools / "pkg-config"),
        "GOFLAGS": "-mod=mod -buildvcs=false", "RUSTC_WRAPPER": str(wrapper),
    }  # fmt: skip
    if shutil.which("rustup"):  # the library pins a toolchain that need not be here
        active = subprocess.run(["rustup", "show", "active-toolchain"], check=True, capture_output=True, text=True).stdout
        made["RUSTUP_TOOLCHAIN"] = active.split()[0]
    return made


@contextmanager
def running(folder: Path, port: int = 0, proof: Certificate | None = None) -> Iterator[Influx]:
    """One whose files are all in `folder`; a free port if none is named; https with a certificate. With the same folder it finds its points again."""
    port = port or free_port()
    command = [
        install(), "run", f"--bolt-path={folder / 'bolt'}", f"--engine-path={folder / 'engine'}", f"--sqlite-path={folder / 'sqlite'}",
        f"--http-bind-address=127.0.0.1:{port}", "--reporting-disabled",
        *([f"--tls-cert={proof.certificate}", f"--tls-key={proof.key}"] if proof else []),
    ]  # fmt: skip
    with (folder / "out").open("ab") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    url = f"{'http' if proof is None else 'https'}://127.0.0.1:{port}"
    try:
        wait_until_open(port, server, folder / "out", START_S)
        _set_up(url, proof)
        yield Influx(url, server)
    finally:
        server.kill()
        server.wait()


def _set_up(url: str, proof: Certificate | None) -> None:
    """Once in the life of its files."""
    trust = ssl.create_default_context(cafile=proof.certificate) if proof else None
    if _asked(f"{url}/api/v2/setup", None, trust)["allowed"]:
        wanted = {"username": "admin", "password": "a-password", "org": ORG, "bucket": BUCKET, "token": TOKEN}
        _asked(f"{url}/api/v2/setup", wanted, trust)


def _asked(url: str, body: Mapping[str, str] | None, trust: ssl.SSLContext | None) -> dict[str, object]:
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=START_S, context=trust) as answer:
        told: dict[str, object] = json.load(answer)
        return told
