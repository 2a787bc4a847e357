"""Three real Apache Kafka brokers that are one cluster, to be killed and started again one by one."""

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]  # has no types
from kafka.errors import KafkaError  # type: ignore[import-untyped]  # has no types
from services.kafka import START_S, format_storage, java, write_properties
from services.port import NotStarted, free_port, wait_until_open

COUNT = 3


class ThreeBrokers:
    """Brokers 0, 1 and 2; every topic is on all of them, and durable is what two have. `bootstrap` are host:port.

    Each is broker and controller, keeps its ports and its files (`folder`/broker-N) over kill and start, and
    counts as gone 3 s after it was killed. With two of them down nothing can be written, and nothing is lost.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = [free_port() for _ in range(COUNT)]
        self._controllers = [free_port() for _ in range(COUNT)]
        self._servers: dict[int, subprocess.Popen[bytes]] = {}
        self.bootstrap = [f"127.0.0.1:{port}" for port in self._ports]

    def __enter__(self) -> Self:
        for broker in range(COUNT):
            self._broker_folder(broker).mkdir(parents=True, exist_ok=True)
            write_properties(self._settings(broker), self._properties(broker))
            if not (self._broker_folder(broker) / "log" / "meta.properties").exists():
                format_storage(self._settings(broker))
        with ExitStack() as undo:
            undo.callback(self.stop_all)
            self.start_all()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def kill(self, broker: int) -> None:
        """SIGKILL: what a crash does. Of no effect on one that is down."""
        if (server := self._servers.pop(broker, None)) is not None:
            server.kill()
            server.wait()

    def start(self, broker: int) -> None:
        """Returns once it is part of the cluster again, which takes two brokers that are up. Of no effect on one that is up."""
        self._launch(broker)
        self._wait_until_there(broker)

    def stop_all(self) -> None:
        """SIGKILL to each."""
        for broker in list(self._servers):
            self.kill(broker)

    def start_all(self) -> None:
        """Starts those that are down; returns once they are one cluster."""
        for broker in range(COUNT):
            self._launch(broker)
        for broker in range(COUNT):
            self._wait_until_there(broker)

    def _launch(self, broker: int) -> None:
        if broker not in self._servers:
            with (self._broker_folder(broker) / "out").open("ab") as out:
                command = java("kafka.Kafka", str(self._settings(broker)))
                self._servers[broker] = subprocess.Popen(command, stdout=out, stderr=out, cwd=self._broker_folder(broker))

    def _wait_until_there(self, broker: int) -> None:
        log, end_s = self._broker_folder(broker) / "out", time.monotonic() + START_S
        wait_until_open(self._ports[broker], self._servers[broker], log, START_S)
        while not set(self._servers) <= self._known_to(broker):
            if time.monotonic() > end_s:
                raise NotStarted(f"broker {broker} does not know the others after {START_S} s; see {log}")
            time.sleep(0.1)

    def _known_to(self, broker: int) -> set[int]:
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap[broker], bootstrap_timeout_ms=2000)
        except (KafkaError, OSError):
            return set()
        try:
            return {known["broker_id"] for known in admin.describe_cluster()["brokers"] if not known["is_fenced"]}
        except KafkaError:
            return set()
        finally:
            admin.close()

    def _broker_folder(self, broker: int) -> Path:
        return self.folder / f"broker-{broker}"

    def _settings(self, broker: int) -> Path:
        return self._broker_folder(broker) / "server.properties"

    def _properties(self, broker: int) -> dict[str, str]:
        voters = ",".join(f"{voter}@127.0.0.1:{port}" for voter, port in enumerate(self._controllers))
        return {
            "process.roles": "broker,controller",
            "node.id": str(broker),
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap[broker]},CONTROLLER://127.0.0.1:{self._controllers[broker]}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._broker_folder(broker) / "log"),
            "default.replication.factor": "3",
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": "3",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "3",
            "transaction.state.log.min.isr": "2",
            "group.initial.rebalance.delay.ms": "0",
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "auto.create.topics.enable": "false",
        }
