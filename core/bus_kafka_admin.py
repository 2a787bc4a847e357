"""Kafka's topics through its admin client: which there are and what they are like, made and set."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient  # type: ignore[import-untyped]  # has no types
from kafka.errors import (  # type: ignore[import-untyped]  # has no types
    AuthorizationError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from gpuwarden.core.bus import BusConfig, BusError
from gpuwarden.core.bus_kafka_access import access
from gpuwarden.core.bus_kafka_log import listen_to_kafka, reasons
from gpuwarden.core.bus_topics import PARTITIONS, PLANS, REPLICATION

VISIBLE_S: Final = 10.0
PAUSE_S: Final = 0.1
_TYPE: Final = "type: gpuwarden topics"


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """What the brokers have taken reaches each of them a moment later; BusError if it takes longer than that."""
    end_s = time.monotonic() + VISIBLE_S
    while not holds():
        if time.monotonic() > end_s:
            raise BusError(f"{what} does not show after {VISIBLE_S:g} s")
        time.sleep(PAUSE_S)


@contextmanager
def administering(config: BusConfig, patience_s: float) -> Iterator["KafkaTopics"]:
    """The topics of brokers that answer; BusError if none does in `patience_s`, and for whatever goes wrong after."""
    listen_to_kafka()
    admin = made(KafkaAdminClient, **access(config), bootstrap_timeout_ms=1000 * patience_s)
    try:
        yield KafkaTopics(admin)
    except KafkaError as why:
        raise BusError(f"{', '.join(config.bootstrap)}: {why}") from why
    finally:
        admin.close()


def made(what: Callable[..., Any], *topics: str, **settings: Any) -> Any:
    """A client of kafka-python; BusError if it cannot be, with all that it has said about it."""
    with reasons() as heard:
        try:
            return what(*topics, **settings)
        except (KafkaError, OSError) as why:
            where = f"{', '.join(settings['bootstrap_servers'])} ({settings['security_protocol']})"
            told = "; ".join(dict.fromkeys([*heard, str(why)]))
            raise BusError(f"{where}: {told}{_perhaps(told, settings['security_protocol'])}") from why


def _perhaps(told: str, security_protocol: str) -> str:
    """A broker that refuses a password says so and hangs up; kafka-python, which reads both at once, often forgets the first."""
    refused = security_protocol.startswith("SASL") and "disconnected" in told and "credentials" not in told
    return "; a broker that hangs up may have refused user and password" if refused else ""


class KafkaTopics:
    """Raises kafka-python's errors; `administering` makes a BusError of them."""

    def __init__(self, admin: Any) -> None:
        self.admin = admin

    def brokers(self) -> int:
        """How many are up."""
        return sum(not broker.get("is_fenced", False) for broker in self.admin.describe_cluster()["brokers"])

    def absent(self, topics: Iterable[str]) -> list[str]:
        """Those that are not there; BusError for one that this client has no right to see."""
        codes = {topic["name"]: topic["error_code"] for topic in self.admin.describe_topics(sorted(topics))}
        hidden = [topic for topic, code in codes.items() if code == TopicAuthorizationFailedError.errno]
        if hidden:
            raise BusError(f"{', '.join(hidden)}: not there, or this client has no right to it; {_TYPE} --acls")
        return [topic for topic, code in codes.items() if code == UnknownTopicOrPartitionError.errno]

    def see_to(self, topics: Iterable[str], partitions: int) -> None:
        """Creates what is not there, replicated as the brokers do by default; BusError if this client may not."""
        absent = self.absent(topics)
        try:
            self.create({topic: _planned(topic, partitions) for topic in absent})
        except AuthorizationError as why:
            raise BusError(f"{', '.join(absent)}: not there, and this client may not create topics; {_TYPE}") from why

    def create(self, shapes: Mapping[str, Mapping[str, str]]) -> None:
        """In the words of `bus_topics.wanted`; returns once they can be used. One that another has made meanwhile is left as it is."""
        if shapes:
            made = self.admin.create_topics({topic: _new(shape) for topic, shape in shapes.items()}, raise_errors=False)
            for topic in made["topics"]:
                if topic["error_code"] not in (NoError.errno, TopicAlreadyExistsError.errno):
                    raise for_code(topic["error_code"])(f"{topic['name']}: {topic['error_message']}")
            self.admin.wait_for_topics(list(shapes))

    def found(self, topics: Iterable[str]) -> dict[str, dict[str, str]]:
        """What those that are there are like, in the words of `bus_topics.wanted` and with every setting of Kafka's."""
        there = sorted(set(topics) - set(self.absent(topics)))
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in there]
        settings = self.admin.describe_configs(asked, config_filter="all").get("topic", {}) if there else {}
        return {topic["name"]: _shape(topic) | _values(settings[topic["name"]]) for topic in self.admin.describe_topics(there)}

    def set(self, topic: str, settings: Mapping[str, str]) -> None:
        """Returns once it shows; BusError with the brokers' words if they refuse."""
        outcome = self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings))])["topic"][topic]
        if outcome != "OK":
            raise BusError(f"{topic}: {outcome}")
        wait_until(lambda: settings.items() <= self.found((topic,))[topic].items(), f"{topic}: what was set")


def _planned(topic: str, partitions: int) -> dict[str, str]:
    """What a daemon creates. A topic that is not gpuwarden's gets the brokers' settings."""
    plan = PLANS.get(topic)
    return {PARTITIONS: str(plan.partitions(partitions)), **plan.settings()} if plan else {PARTITIONS: str(partitions)}


def _new(shape: Mapping[str, str]) -> dict[str, Any]:
    settings = {name: value for name, value in shape.items() if name not in (PARTITIONS, REPLICATION)}
    replication = int(shape.get(REPLICATION, -1))
    return {"num_partitions": int(shape[PARTITIONS]), "replication_factor": replication, "configs": settings}


def _shape(topic: Mapping[str, Any]) -> dict[str, str]:
    parts = topic["partitions"]
    return {PARTITIONS: str(len(parts)), REPLICATION: str(min(len(part["replica_nodes"]) for part in parts))}


def _values(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: str(setting["value"]) for name, setting in settings.items()}
