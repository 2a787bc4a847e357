"""A real Apache Kafka broker in KRaft mode, on free loopback ports with its log in a folder of the caller's."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cache import cached
from services.port import free_port, wait_until_open

POM = Path(__file__).with_name("kafka-pom.xml")
START_S = 60.0
CLUSTER = "gpuwarden-in-the-testA"  # 16 bytes in base64, as Kafka wants it


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that is up. `bootstrap` is host:port."""

    bootstrap: str
    server: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL: what a crash does."""
        self.server.kill()
        self.server.wait()


def install() -> Path:
    """The folder of the broker's jars, fetched by Maven (some 10 s) if they are not there yet."""
    return cached("kafka", POM.read_bytes(), _fetch) / "libs"


def _fetch(folder: Path) -> None:
    where = f"-DoutputDirectory={folder / 'libs'}"
    subprocess.run(["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", where], check=True)


def archive() -> Path:
    """The broker's classes as Java lays them out in memory, written (some 10 s) if they are not there yet: half of what a start costs.

    A Java that it does not fit starts without it.
    """
    program = Path(shutil.which("java") or "java").resolve()
    return cached("kafka-classes", POM.read_bytes() + bytes(program), _write_archive) / "classes.jsa"


def _write_archive(folder: Path) -> None:
    """Java writes it as a broker ends in order."""
    with tempfile.TemporaryDirectory() as scratch:
        work, port = Path(scratch), free_port()
        write_properties(work / "server.properties", _properties(work, port, "PLAINTEXT", {}))
        subprocess.run(_java("-Xshare:auto", *_format(work / "server.properties")), check=True, capture_output=True)
        command = _java(f"-XX:ArchiveClassesAtExit={folder / 'classes.jsa'}", "kafka.Kafka", str(work / "server.properties"))
        with (work / "out").open("wb") as out:
            server = subprocess.Popen(command, stdout=out, stderr=out, cwd=work)
        try:
            wait_until_open(port, server, work / "out", START_S)
            server.terminate()
            server.wait(START_S)
        finally:
            server.kill()
            server.wait()


@contextmanager
def running(
    folder: Path, port: int = 0, protocol: str = "PLAINTEXT", more: Mapping[str, str] | None = None, scram: Sequence[str] = ()
) -> Iterator[Broker]:
    """A broker whose files are all in `folder`; a free port if none is named. `protocol` is its listener's.

    `more` are server properties, `scram` users as --add-scram wants them. A second call with the same folder finds the records of the first one.
    """
    port = port or free_port()
    settings = folder / "server.properties"
    write_properties(settings, _properties(folder, port, protocol, more or {}))
    if not (folder / "log" / "meta.properties").exists():
        format_storage(settings, scram)
    with (folder / "out").open("ab") as out:
        server = subprocess.Popen(java("kafka.Kafka", str(settings)), stdout=out, stderr=out, cwd=folder)
    try:
        wait_until_open(port, server, folder / "out", START_S)
        yield Broker(f"127.0.0.1:{port}", server)
    finally:
        server.kill()  # nothing in it is worth the seconds of an orderly end
        server.wait()


def write_properties(settings: Path, properties: Mapping[str, str]) -> None:
    """The file that a broker is started with."""
    settings.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))


def format_storage(settings: Path, scram: Sequence[str] = ()) -> None:
    """Makes the empty log that the properties in `settings` name. `scram` are users as --add-scram wants them."""
    users = (part for user in scram for part in ("--add-scram", user))
    subprocess.run([*java(*_format(settings)), *users], check=True, capture_output=True)


def _format(settings: Path) -> tuple[str, ...]:
    return ("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(settings))


def java(main: str, *arguments: str) -> list[str]:
    """The command that runs one of Kafka's programs."""
    return _java(f"-XX:SharedArchiveFile={archive()}", main, *arguments)


def _java(classes: str, main: str, *arguments: str) -> list[str]:
    heap = ["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return ["java", classes, *heap, "-cp", f"{install()}/*", main, *arguments]


def _properties(folder: Path, port: int, protocol: str, more: Mapping[str, str]) -> dict[str, str]:
    controller = f"127.0.0.1:{free_port()}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{protocol}://127.0.0.1:{port},CONTROLLER://{controller}",
        "listener.security.protocol.map": f"{protocol}:{protocol},CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": protocol,
        "log.dirs": str(folder / "log"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "metadata.max.idle.interval.ms": "0",  # else it writes a record that says nothing twice a second, for as long as it runs
        "auto.create.topics.enable": "false",  # as in a well-kept cluster: a topic is made by who means to
        **more,
    }
