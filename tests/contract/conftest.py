"""Somebody else's BMC for the suites that speak Redfish: the sushy emulator behind a certificate."""

from collections.abc import Iterator

import pytest
from fakes.redfish.service import PASSWORD, USER
from services import certificate, sushy
from services.certificate import Certificate


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, proof: Certificate) -> Iterator[str]:
    with sushy.running(tmp_path_factory.mktemp("sushy"), proof, USER, PASSWORD) as url:
        yield url
