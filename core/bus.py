"""The bus that records travel on: what every bus promises, and how one is configured.

At least once, in order for each key of a topic. Nothing is forgotten until its reader has committed past it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from gpuwarden.core.address import parse_address
from gpuwarden.core.config import option

MAX_RECORD_BYTES: Final = 1_000_000  # Kafka's brokers take messages of 1 MiB as installed, key and frame included

OnDone: TypeAlias = Callable[[Exception | None], None]


class BusError(Exception):
    """What could not be sent, acknowledged or reached, and why. Trying again later may help."""


class NotYet(BusError):
    """Not acknowledged in time; it is still on its way, and need not be sent again."""


class TooLarge(BusError):
    """The bus will never take this record; another one it may."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it is read. `offset` grows within (topic, partition); a key stays in one partition."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes


class Producer(Protocol):
    """Sends records. For any thread."""

    def send(self, topic: str, key: str, value: bytes, on_done: OnDone | None = None) -> None:
        """Takes the record over. `on_done` says that it is durable (None) or why it is not, maybe from another thread.

        Waits a few seconds where too much is under way already; then BusError. TooLarge for a record that is; told to
        `on_done` it may be about another one that was under way.
        """
        ...

    def flush(self, timeout_s: float) -> None:
        """Waits until everything sent is acknowledged; NotYet if that takes longer, BusError if something since the last flush failed."""
        ...

    def close(self) -> None:
        """Gives what is under way a few seconds, and ends."""
        ...


class Consumer(Protocol):
    """One member of a consumer group. Its partitions come and go with the other members'.

    `poll` and `close` are for one thread; `commit` is for any.
    """

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Up to `max_records`, as soon as there are any; none if none came in time. In order within a partition."""
        ...

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        """The group goes on from these offsets, by (topic, partition), should this member die.

        It takes effect with the next poll or close. What another member has taken over meanwhile is left as it is.
        """
        ...

    def close(self) -> None:
        """Leaves the group. What is not committed will be read again by who takes over."""
        ...


class Moves(Protocol):
    """Told of it as partitions come and go."""

    def leaving(self) -> None:
        """Some may be about to go. Who gets them begins when this has returned, at the latest after some seconds. From any thread.

        Not told by a bus of one process, nor by a member that was taken for dead.
        """
        ...

    def given(self, places: frozenset[tuple[str, int]]) -> None:
        """(topic, partition): all that are this member's from now on. In `poll`, before any record of theirs."""
        ...


class Bus(Protocol):
    """Makes producers and consumers."""

    def producer(self) -> Producer: ...

    def consumer(self, topics: Sequence[str], group: str, from_start: bool = True, moves: Moves | None = None) -> Consumer:
        """A new member of `group`. Where the group has not committed yet it reads from the start, or only what comes now."""
        ...


def check_size(topic: str, key: str, value: bytes) -> None:
    """TooLarge if the record is larger than a bus takes."""
    size_bytes = len(key.encode()) + len(value)
    if size_bytes > MAX_RECORD_BYTES:
        raise TooLarge(f"{topic}: the record of {key!r} has {size_bytes} bytes, at most {MAX_RECORD_BYTES} may go")


_KINDS = ("kafka", "memory")
_SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class BusConfig:
    """The `[bus]` table of a daemon. Names of security settings are Kafka's."""

    kind: str = option("kafka, or memory for parts that share one process", default="kafka")
    bootstrap: tuple[str, ...] = option("brokers to ask for all the others, host:port each", default=())
    partitions: int = option("partitions of a busy topic that is not there yet, and so is created", default=12)
    security_protocol: str = option("PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", default="PLAINTEXT")
    ssl_ca_file: Path | None = option("PEM file of who signs the brokers; without it the system's", default=None)
    ssl_certificate_file: Path | None = option("PEM file of this client's certificate", default=None)
    ssl_key_file: Path | None = option("PEM file of this client's key, readable by its owner only", default=None)
    sasl_mechanism: str = option("PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", default="SCRAM-SHA-512")
    sasl_username: str | None = option("who this client is, with SASL", default=None)
    sasl_password_file: Path | None = option("file with the password and nothing else, readable by its owner only, with SASL", default=None)

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        yield from _not_among("kind", self.kind, _KINDS)
        yield from _not_among("security_protocol", self.security_protocol, _SECURITY)
        yield from _not_among("sasl_mechanism", self.sasl_mechanism, _MECHANISMS)
        if self.partitions < 1:
            yield f"partitions: is {self.partitions}, should be 1 or more"
        yield from self._bootstrap_problems()
        yield from self._security_problems()

    def _bootstrap_problems(self) -> Iterator[str]:
        if self.kind == "kafka" and not self.bootstrap:
            yield "bootstrap: is empty, should be one host:port or more"
        for broker in self.bootstrap:
            try:
                parse_address(broker)
            except ValueError as why:
                yield f"bootstrap: {why}"

    def _security_problems(self) -> Iterator[str]:
        credentials = (self.sasl_username, self.sasl_password_file)
        sasl = self.security_protocol.startswith("SASL_")
        if sasl and None in credentials:
            yield f"sasl_username, sasl_password_file: should both be given with {self.security_protocol}"
        if not sasl and credentials != (None, None):
            yield f"sasl_username, sasl_password_file: are of no use with {self.security_protocol}"
        if self.security_protocol == "SASL_PLAINTEXT" and self.sasl_mechanism == "PLAIN" and not self._on_loopback():
            yield "sasl_mechanism: is PLAIN, which sends the password in clear with SASL_PLAINTEXT; should be SCRAM-SHA-512, or SASL_SSL used"
        files = (self.ssl_ca_file, self.ssl_certificate_file, self.ssl_key_file)
        if not self.security_protocol.endswith("SSL") and any(files):
            yield f"ssl_ca_file, ssl_certificate_file, ssl_key_file: are of no use with {self.security_protocol}"
        if (self.ssl_certificate_file is None) != (self.ssl_key_file is None):
            yield "ssl_certificate_file, ssl_key_file: should be given both or neither"

    def _on_loopback(self) -> bool:
        try:
            return all(parse_address(broker).loopback for broker in self.bootstrap)
        except ValueError:  # said of `bootstrap` already
            return False


def _not_among(key: str, value: str, known: Sequence[str]) -> Iterator[str]:
    if value not in known:
        yield f"{key}: is {value!r}, should be {' or '.join(known)}"
