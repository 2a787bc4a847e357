"""A certificate authority in a folder, for tests and for sites that have none: ECDSA P-256, one leaf a holder."""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gpuwarden.core.config import ConfigError
from gpuwarden.core.tls import CA, CERTIFICATE, KEY

CA_KEY: Final = "ca.key"
CA_DAYS: Final = 3650
SKEW: Final = timedelta(minutes=5)  # a certificate is valid from so long before now: clocks differ


class Authority:
    """Its certificate and key lie in `folder`, made there if they are not yet."""

    def __init__(self, folder: Path) -> None:
        """ConfigError if only one of the two is there, or they cannot be read."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = [(folder / name).exists() for name in (CA, CA_KEY)]
        if any(there) and not all(there):
            raise ConfigError(f"{folder}: has only one of {CA} and {CA_KEY}; bring the other one back, or move both away")
        if not any(there):
            self._make()
        self._certificate, self._key = _load(folder)

    def leaf(self, role: str, name: str, uri: str, hosts: Sequence[str], days: float) -> Path:
        """Writes ROLE-NAME/ with the three files of `core.tls`, over what was there; its path. `hosts` are names or addresses."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri), *map(_host, hosts)]
        made = (
            _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{role} {name}"[:64])]), self._certificate.subject, key.public_key())
            .not_valid_before(now - SKEW + min(timedelta(0), timedelta(days=days)))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_uses(hosts)), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        folder = self._folder / f"{role}-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        _write(folder / CA, _pem(self._certificate))
        _write(folder / CERTIFICATE, _pem(made))
        _write(folder / KEY, _private(key))
        return folder

    def _make(self) -> None:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gpuwarden authority")])
        made = (
            _builder(name, name, key.public_key())
            .not_valid_before(now - SKEW)
            .not_valid_after(now + timedelta(days=CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(self._folder / CA_KEY, _private(key))
        _write(self._folder / CA, _pem(made))


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public).serial_number(x509.random_serial_number())


def _load(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((folder / CA).read_bytes())
        key = serialization.load_pem_private_key((folder / CA_KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError) as why:
        raise ConfigError(f"{folder}: {why}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{folder / CA_KEY}: is no key of an elliptic curve")
    return certificate, key


def _uses(hosts: Sequence[str]) -> list[x509.ObjectIdentifier]:
    """Only who can be called by a name may answer, and under that name."""
    return [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and never readable by others."""
    scratch = path.with_name(path.name + ".new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    scratch.replace(path)
