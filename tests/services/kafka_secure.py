"""A real Apache Kafka broker that asks everybody who he is, by password or by certificate, and lets nobody do what no rule allows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services import kafka
from services.port import free_port

from gpuwarden.cli.authority import Authority
from gpuwarden.core.bus import BusConfig

ADMIN = "admin"
USERS = (ADMIN, "agent", "detector", "controller", "recorder", "stranger")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")
DAYS = 2.0


@dataclass(frozen=True, slots=True)
class SecureBroker:
    """`by_password` and `by_certificate` are its two listeners. A user's password is in the file of his name."""

    folder: Path
    by_password: str
    by_certificate: str

    @property
    def ca_file(self) -> Path:
        return self.folder / "tls" / "ca.crt"

    def user(self, name: str, mechanism: str = "SCRAM-SHA-512") -> BusConfig:
        """How one of USERS reaches it."""
        return BusConfig(
            bootstrap=(self.by_password,), security_protocol="SASL_SSL", ssl_ca_file=self.ca_file, partitions=4,
            sasl_mechanism=mechanism, sasl_username=name, sasl_password_file=self.folder / f"{name}.password",
        )  # fmt: skip

    def holder(self, role: str, name: str) -> BusConfig:
        """How one with a certificate of the broker's authority reaches it; known as `User:ROLE`, whatever his name is."""
        leaf = Authority(self.ca_file.parent).leaf(role, name, f"spiffe://gpuwarden/{role}/{name}", (), DAYS)
        return BusConfig(
            bootstrap=(self.by_certificate,), security_protocol="SSL", ssl_ca_file=self.ca_file, partitions=4,
            ssl_certificate_file=leaf / "tls.crt", ssl_key_file=leaf / "tls.key",
        )  # fmt: skip


@contextmanager
def running(folder: Path) -> Iterator[SecureBroker]:
    """The broker; its only super user is ADMIN, and so far nobody else may do anything."""
    leaf = Authority(folder / "tls").leaf("kafka", "one", "spiffe://gpuwarden/kafka/one", ("127.0.0.1",), DAYS)
    _write(folder / "broker.pem", (leaf / "tls.key").read_text() + (leaf / "tls.crt").read_text())
    for user in USERS:
        _write(folder / f"{user}.password", password(user) + "\n")
    made = SecureBroker(folder, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    scram = [f"{mechanism}=[name={user},password={password(user)}]" for mechanism in MECHANISMS for user in USERS]
    port = int(made.by_password.rpartition(":")[2])
    with kafka.running(folder, port, "SASL_SSL", _properties(made), scram):
        yield made


def password(user: str) -> str:
    """None of them is part of another word, so that one that leaks is found."""
    return f"{user}-s3cret"


def _write(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)


def _properties(broker: SecureBroker) -> Mapping[str, str]:
    controller = f"127.0.0.1:{free_port()}"
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    users = " ".join(f'user_{user}="{password(user)}"' for user in USERS)
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"SASL_SSL://{broker.by_password},SSL://{broker.by_certificate},CONTROLLER://{controller}",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(broker.folder / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(broker.ca_file),
        "listener.name.ssl.ssl.client.auth": "required",
        "listener.name.ssl.ssl.principal.mapping.rules": "RULE:^CN=([a-z]+) .*$/$1/",
        "sasl.enabled.mechanisms": ",".join(("PLAIN", *MECHANISMS)),
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{login} username="{ADMIN}" password="{password(ADMIN)}" {users};',
        **{f"listener.name.sasl_ssl.{mechanism.lower()}.sasl.jaas.config": scram for mechanism in MECHANISMS},
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN};User:ANONYMOUS",  # ANONYMOUS is the broker as its own controller, on no other listener
    }
