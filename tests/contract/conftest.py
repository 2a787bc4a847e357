"""Somebody else's BMC for the suites that speak Redfish, the sushy emulator behind a certificate; and a cluster in Kubernetes' API server."""

from collections.abc import Iterator

import pytest
from fakes.redfish.service import PASSWORD, USER
from services import certificate, sushy
from services.certificate import Certificate
from services.kube import Kube
from services.kube_cluster import KubeCluster


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, proof: Certificate) -> Iterator[str]:
    with sushy.running(tmp_path_factory.mktemp("sushy"), proof, USER, PASSWORD) as url:
        yield url


@pytest.fixture(scope="session")
def kube_objects(kube_server: Kube) -> KubeCluster:
    return KubeCluster(kube_server)


@pytest.fixture
def kube_cluster(kube_objects: KubeCluster) -> KubeCluster:
    """Four nodes with nothing on them."""
    kube_objects.clean()
    return kube_objects
