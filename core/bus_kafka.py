"""The bus that is Apache Kafka, through kafka-python."""

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kafka import (  # type: ignore[import-untyped]  # has no types
    ConsumerRebalanceListener,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError  # type: ignore[import-untyped]  # has no types

from gpuwarden.core.bus import BusConfig, BusError, Moves, NotYet, OnDone, Record, TooLarge, check_size
from gpuwarden.core.bus_kafka_access import access
from gpuwarden.core.bus_kafka_admin import administering, made

UNDER_WAY_BYTES: Final = 32 << 20  # kafka-python itself sets no limit to what waits for a broker
ROOM_S: Final = 5.0
CLOSE_S: Final = 5.0
COMMIT_S: Final = 5.0
NOTHING_S: Final = 10.0  # a member that is given no partition asks again after this, and after twice that, up to
NOTHING_LONGEST_S: Final = 600.0  # since a group may have more members than there are partitions, and asking makes all of them join anew

_SENDING: Final[Mapping[str, Any]] = {
    "acks": "all",
    "enable_idempotence": True,
    "compression_type": "lz4",
    "linger_ms": 10,
    "batch_size": 256 << 10,
    "max_block_ms": 1000 * ROOM_S,
    "request_timeout_ms": 10_000,
    "delivery_timeout_ms": 600_000,  # longer than brokers are away as a rule: what is given up and sent anew may overtake
}
_READING: Final[Mapping[str, Any]] = {
    "enable_auto_commit": False,
    "fetch_max_bytes": 8 << 20,
    "session_timeout_ms": 15_000,
    "metadata_max_age_ms": 5_000,  # a member that joins before a new topic is known everywhere is given none of it until it looks again
}
_EITHER: Final[Mapping[str, Any]] = {"reconnect_backoff_max_ms": 2_000, "metrics_enabled": False}
_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)

_log = logging.getLogger("gpuwarden.bus")


class KafkaBus:
    """Brokers that answered when this was made."""

    def __init__(self, config: BusConfig, topics: Iterable[str], patience_s: float) -> None:
        """Creates those of `topics` that are not there yet; BusError if it may not, or if no broker answers in `patience_s`."""
        self._access = access(config)
        with administering(config, patience_s) as kafka:
            kafka.see_to(topics, config.partitions)

    def producer(self) -> "_KafkaProducer":
        return _KafkaProducer(made(KafkaProducer, **self._access, **_SENDING, **_EITHER))

    def consumer(self, topics: Sequence[str], group: str, from_start: bool = True, moves: Moves | None = None) -> "_KafkaConsumer":
        begin = {"group_id": group, "auto_offset_reset": "earliest" if from_start else "latest"}
        kafka = made(KafkaConsumer, **self._access, **_READING, **_EITHER, **begin)
        return _KafkaConsumer(kafka, topics, moves)


class _KafkaProducer:
    def __init__(self, kafka: Any) -> None:
        self._kafka = kafka
        self._changed = threading.Condition()  # its lock guards the three below
        self._under_way = 0
        self._under_way_bytes = 0
        self._failure: BusError | None = None

    def send(self, topic: str, key: str, value: bytes, on_done: OnDone | None = None) -> None:
        check_size(topic, key, value)
        self._take_room(topic, len(value))
        try:
            future = self._kafka.send(topic, value, key=key.encode())
        except KafkaError as why:
            self._give_room(len(value), None)
            raise _failure(topic, why) from why
        future.add_both(self._on_outcome, topic, len(value), on_done)

    def _take_room(self, topic: str, size_bytes: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._under_way_bytes + size_bytes <= UNDER_WAY_BYTES, ROOM_S):
                raise BusError(f"{topic}: {self._under_way_bytes} bytes wait for the brokers, at most {UNDER_WAY_BYTES} may")
            self._under_way += 1
            self._under_way_bytes += size_bytes

    def _on_outcome(self, topic: str, size_bytes: int, on_done: OnDone | None, outcome: object) -> None:
        failure = _failure(topic, outcome) if isinstance(outcome, Exception) else None
        try:
            if on_done is not None:
                on_done(failure)
        finally:
            self._give_room(size_bytes, failure)

    def _give_room(self, size_bytes: int, failure: BusError | None) -> None:
        with self._changed:
            self._under_way -= 1
            self._under_way_bytes -= size_bytes
            self._failure = self._failure or failure
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._under_way == 0, timeout_s):
                raise NotYet(f"{self._under_way} records are not acknowledged after {timeout_s} s")
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        try:
            self.flush(CLOSE_S)
        except BusError as why:
            _log.warning("given up: %s", why)
            self._kafka._sender.force_close()  # kafka-python's own close() would leave its thread behind here
        self._kafka.close(timeout=CLOSE_S)


def _failure(topic: str, why: Exception) -> BusError:
    """After one record that is too large kafka-python fails all that are under way with the same words."""
    return (TooLarge if isinstance(why, _TOO_LARGE) else BusError)(f"{topic}: {why}")


class _Rebalanced(ConsumerRebalanceListener):  # type: ignore[misc]  # has no types
    """Called by kafka-python's own thread, which sends heartbeats too: what is given is seen to in `poll`."""

    def __init__(self, moves: Moves | None) -> None:
        self._moves = moves
        self.anew = threading.Event()

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if self._moves is not None and revoked:
            self._moves.leaving()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.anew.set()

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.anew.set()


class _KafkaConsumer:
    def __init__(self, kafka: Any, topics: Sequence[str], moves: Moves | None) -> None:
        self._kafka, self._moves, self._rebalanced = kafka, moves, _Rebalanced(moves)
        kafka.subscribe(topics=tuple(topics), listener=self._rebalanced)
        self._lock = threading.Lock()
        self._to_commit: dict[tuple[str, int], int] = {}
        self._closed = False
        self._given_s, self._patience_s = time.monotonic(), NOTHING_S

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        self._commit_now()
        self._ask_again()
        try:
            batches = self._kafka.poll(timeout_ms=1000 * timeout_s, max_records=max_records)
        except KafkaError as why:
            raise BusError(f"poll: {why}") from why
        self._tell_of_moves()
        return [
            Record(place.topic, place.partition, read.offset, (read.key or b"").decode(errors="replace"), read.value or b"")
            for place, batch in batches.items()
            for read in batch
        ]

    def _tell_of_moves(self) -> None:
        if self._moves is None or not self._rebalanced.anew.is_set():
            return
        self._rebalanced.anew.clear()
        self._moves.given(frozenset((place.topic, place.partition) for place in self._kafka.assignment()))

    def _ask_again(self) -> None:
        """A member that joined before it knew of a topic's partitions is given none, and kafka-python may not notice that it knows them by now."""
        now_s = time.monotonic()
        if self._kafka.assignment():
            self._given_s, self._patience_s = now_s, NOTHING_S
        elif now_s - self._given_s > self._patience_s:
            self._given_s, self._patience_s = now_s, min(2 * self._patience_s, NOTHING_LONGEST_S)
            self._kafka._coordinator.request_rejoin()

    def commit(self, next_offsets: Mapping[tuple[str, int], int]) -> None:
        with self._lock:
            self._to_commit.update(next_offsets)

    def _commit_now(self) -> None:
        """kafka-python's consumer is for one thread, so what `commit` was told is done here."""
        with self._lock:
            wanted, self._to_commit = self._to_commit, {}
        mine = self._kafka.assignment()
        offsets = {TopicPartition(*place): OffsetAndMetadata(offset, "", -1) for place, offset in wanted.items()}
        try:
            self._kafka.commit({place: offset for place, offset in offsets.items() if place in mine}, 1000 * COMMIT_S)
        except KafkaError as why:
            self._commit_later(wanted, why)

    def _commit_later(self, wanted: dict[tuple[str, int], int], why: Exception) -> None:
        _log.warning("offsets of %d partitions are not committed yet: %s", len(wanted), why)
        with self._lock:
            self._to_commit = wanted | self._to_commit

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._commit_now()
            self._kafka.close(autocommit=False, timeout_ms=1000 * CLOSE_S)
