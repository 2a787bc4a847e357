"""A real Kubernetes API server, built from its Go module, with Debian's etcd below it and its data in a folder of the caller's.

It is the API server alone: no kubelet, scheduler or controller runs. Standard library only, as install.py is.
"""

import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services import certificate
from services.cache import cached
from services.port import NotStarted, free_port, wait_until_open
from services.toolchain import lacks

VERSION = "1.35.4"
BUILD = "k8s.io/kubernetes/cmd/kube-apiserver"
# Modules that live in Kubernetes' own tree, and have versions of their own elsewhere.
STAGING = (
    "api", "apiextensions-apiserver", "apimachinery", "apiserver", "cli-runtime", "client-go", "cloud-provider", "cluster-bootstrap",
    "code-generator", "component-base", "component-helpers", "controller-manager", "cri-api", "cri-client", "csi-translation-lib",
    "dynamic-resource-allocation", "endpointslice", "externaljwt", "kms", "kube-aggregator", "kube-controller-manager", "kube-proxy",
    "kube-scheduler", "kubectl", "kubelet", "metrics", "mount-utils", "pod-security-admission", "sample-apiserver", "sample-cli-plugin",
    "sample-controller",
)  # fmt: skip
GO_MOD = "\n".join(
    (
        "module apiserver", "", "go 1.25.0", "", "godebug default=go1.25", "", f"require k8s.io/kubernetes v{VERSION}", "",
        *(f"replace k8s.io/{name} => k8s.io/{name} v0.{VERSION.partition('.')[2]}" for name in STAGING), "",
    )
)  # fmt: skip
TOOLS = f'//go:build tools\n\npackage tools\n\nimport _ "{BUILD}/app"\n'
RECIPE = f"{GO_MOD}\n{TOOLS}".encode()
OLDEST = (1, 25)

START_S = 60.0
ASK_S = 20.0
LOOK_S = 0.05
TOKEN = "a-token-for-tests-only"  # of somebody who may do everything


class Denied(Exception):
    """It says no: the status, and what it says."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status


@dataclass(slots=True)
class Kube:
    """One that is up. `asked` is by somebody who may do everything, over one connection."""

    folder: Path
    port: int
    proof: certificate.Certificate
    server: subprocess.Popen[bytes]
    line: http.client.HTTPSConnection

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def asked(self, verb: str, path: str, body: object = None, content: str = "application/json", token: str = TOKEN) -> Any:
        """What it says; Denied."""
        return json.loads(self.said(verb, path, body, content, token))

    def said(self, verb: str, path: str, body: object = None, content: str = "application/json", token: str = TOKEN) -> bytes:
        """The same, as it is."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content}
        try:
            self.line.request(verb, path, json.dumps(body) if body is not None else None, headers)
            answer = self.line.getresponse()
            told = answer.read()
        except OSError:
            self.line.close()  # the next one begins anew
            raise
        if answer.status >= 300:
            raise Denied(answer.status, told.decode())
        return told

    def patched(self, path: str, body: Mapping[str, object], query: str = "") -> Any:
        return self.asked("PATCH", path + query, body, "application/merge-patch+json")

    def kubeconfig(self, name: str, token: str, url: str = "") -> Path:
        """A file for who has this token; for another address than its own, if one is named."""
        file = self.folder / f"{name}.kubeconfig"
        cluster = {"server": url or self.url, "certificate-authority": str(self.proof.certificate)}
        context = {"cluster": "test", "user": name}
        file.write_text(
            json.dumps({
                "apiVersion": "v1", "kind": "Config", "current-context": "test", "contexts": [{"name": "test", "context": context}],
                "clusters": [{"name": "test", "cluster": cluster}], "users": [{"name": name, "user": {"token": token}}],
            })
        )  # fmt: skip
        return file


def lacking() -> str:
    """What this machine needs to build it and has not, as a sentence; '' where it has all."""
    return lacks("the Kubernetes API server", "go", ("go", "version"), OLDEST)


def install() -> Path:
    """The program, built (some minutes) if it is not there yet."""
    return cached("kube-apiserver", RECIPE, _build) / "kube-apiserver"


def _build(folder: Path) -> None:
    sys.stderr.write(f"building the Kubernetes API server {VERSION} with go: once, five minutes on two cores\n")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        (Path(scratch) / "go.mod").write_text(GO_MOD)
        (Path(scratch) / "tools.go").write_text(TOOLS)
        environment = {**os.environ, "GOFLAGS": "-mod=mod -buildvcs=false"}
        command = ["go", "build", "-ldflags", "-s -w", "-o", str(folder / "kube-apiserver"), BUILD]
        subprocess.run(command, cwd=scratch, env=environment, check=True)


@contextmanager
def running(folder: Path) -> Iterator[Kube]:
    """An empty one, with nothing but what it makes itself."""
    database = _etcd(folder)
    try:
        made = _apiserver(folder, *database)
        try:
            _wait_until_ready(made)
            yield made
        finally:
            made.line.close()
            made.server.kill()
            made.server.wait()
    finally:
        database[0].kill()
        database[0].wait()


def _etcd(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    port, peers = free_port(), f"http://127.0.0.1:{free_port()}"
    address = f"http://127.0.0.1:{port}"
    command = [
        "etcd", f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={address}", f"--advertise-client-urls={address}",
        f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
    ]  # fmt: skip
    log = folder / "etcd.out"
    with log.open("ab") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        wait_until_open(port, server, log, START_S)
    except NotStarted:
        server.kill()
        raise
    return server, port


def _apiserver(folder: Path, database: subprocess.Popen[bytes], database_port: int) -> Kube:
    port, key = free_port(), folder / "accounts.key"
    proof = certificate.make(folder)
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    (folder / "tokens").write_text(f'{TOKEN},tests,1,"system:masters"\n')
    command = [
        install(), f"--etcd-servers=http://127.0.0.1:{database_port}", "--bind-address=127.0.0.1", f"--secure-port={port}",
        f"--tls-cert-file={proof.certificate}", f"--tls-private-key-file={proof.key}", f"--token-auth-file={folder / 'tokens'}",
        "--authorization-mode=RBAC", "--service-account-issuer=https://tests", f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount",
    ]  # fmt: skip
    with (folder / "apiserver.out").open("ab") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    trust = ssl.create_default_context(cafile=proof.certificate)
    return Kube(folder, port, proof, server, http.client.HTTPSConnection("127.0.0.1", port, timeout=ASK_S, context=trust))


def _wait_until_ready(made: Kube) -> None:
    until_s = time.monotonic() + START_S
    while not _ready(made):
        if time.monotonic() > until_s or made.server.poll() is not None:
            raise NotStarted(f"not ready after {START_S} s; the log ends with\n{(made.folder / 'apiserver.out').read_text()[-4000:]}")
        time.sleep(LOOK_S)


def _ready(made: Kube) -> bool:
    try:
        return made.said("GET", "/readyz") == b"ok"
    except (OSError, Denied):
        return False
