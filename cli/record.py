"""`gpuwarden record`: telemetry from Kafka to Parquet files or InfluxDB, for whoever wants to learn from it."""

import argparse
import json
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuwarden.cli.brokers import add_brokers, brokers
from gpuwarden.core.config import ConfigError, load

if TYPE_CHECKING:
    from gpuwarden.core.bus import BusConfig, Consumer
    from gpuwarden.core.notify import Supervisor
    from gpuwarden.detector.history import Recorder, Store
    from gpuwarden.detector.history_config import InfluxConfig

GROUP: Final = "gpuwarden-recorder"
INFLUX_GROUP: Final = "gpuwarden-recorder-influx"  # offsets speak of one place
POLL_S: Final = 0.5
POLL_RECORDS: Final = 2000
PAUSE_S: Final = 1.0
MOST_S: Final = 1e9

_log = logging.getLogger("gpuwarden.recorder")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    record = verbs.add_parser("record", help="write the telemetry that comes through Kafka to Parquet files or InfluxDB")
    add_brokers(record, "a file with a [bus] table, for brokers that ask who one is, and an [influx] table to write there instead of --out")
    record.add_argument("--out", type=Path, metavar="DIR", help="folder of the history as Parquet files")
    record.add_argument("--flush-s", type=_seconds, default=60.0, metavar="S", help="a file holds so much time, offsets are committed so often (%(default)s)")
    record.add_argument("--duration", type=_seconds, metavar="S", help="stop after so many seconds; default: when told to")
    record.add_argument("--json", action="store_true", help="the figures at the end as JSON")
    record.set_defaults(run=run, verb="record")


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) <= MOST_S:
        raise argparse.ArgumentTypeError(f"is {text}, should be above 0 and at most {MOST_S:g}")
    return seconds


def run(args: argparse.Namespace) -> int:
    import pyarrow as pa  # type: ignore[import-untyped]  # has no types

    from gpuwarden.core.bus import BusError
    from gpuwarden.core.log import log_to_stderr
    from gpuwarden.core.notify import Supervisor
    from gpuwarden.core.reload import on_hangup
    from gpuwarden.core.service import stop_on_signals
    from gpuwarden.detector.history import NotStored, Recorder

    config, influx = _places(args)
    log_to_stderr()
    on_hangup(lambda: _log.info("SIGHUP: a recorder reads its file once; what it and the command line say takes effect with a restart"))
    pa.set_memory_pool(pa.system_memory_pool())  # it runs for years: Arrow's own keeps megabytes of a flush, now more, now fewer
    stop, supervisor = stop_on_signals(), Supervisor()
    recorder = Recorder(_files(args.out) if influx is None else _points(influx, stop, supervisor))
    if args.duration is not None:
        timer = threading.Timer(args.duration, stop.set)
        timer.daemon = True
        timer.start()
    try:
        _record(config, recorder, args.flush_s, stop, GROUP if influx is None else INFLUX_GROUP, supervisor)
    except NotStored as why:
        if influx is None:
            raise ConfigError(f"--out: {why}; what is not written there is not committed, and will be read again") from None
        _log.warning("%s", why)
    except BusError as why:
        _log.warning("%s", why)
    _tell(recorder, args, args.out if influx is None else influx.url)
    return 0 if stop.is_set() else 1


def _places(args: argparse.Namespace) -> "tuple[BusConfig, InfluxConfig | None]":
    """Where telemetry comes from, and the InfluxDB that it goes to, if it goes to one. ConfigError if it is not told, or told twice."""
    if args.config is None:
        config, influx = brokers(args), None
    else:
        from gpuwarden.detector.history_config import RecorderConfig

        file = load(args.config, RecorderConfig)
        config, influx = file.bus, file.influx
    if args.out is None and influx is None:
        raise ConfigError("--out: is missing, and there is no file with an [influx] table: one of them says where history goes")
    if args.out is not None and influx is not None:
        raise ConfigError(f"--out: {args.config} has an [influx] table too, and a recorder writes to one place; start one for each")
    return config, influx


def _files(folder: Path) -> "Store":
    from gpuwarden.detector.history_parquet import Parquet

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise ConfigError(f"--out: {why}; what is not written there is not committed") from None
    return Parquet(folder)


def _points(config: "InfluxConfig", stop: threading.Event, supervisor: "Supervisor") -> "Store":
    from gpuwarden.detector.history_influx import Influx

    return Influx(config, stop, supervisor.turned, supervisor.waits)


def _record(
    config: "BusConfig", recorder: "Recorder", flush_s: float, stop: threading.Event, group: str, supervisor: "Supervisor"
) -> None:
    """Until `stop`. What is read by then is durable and committed."""
    from gpuwarden.core.connect import connect
    from gpuwarden.proto import topics

    consumer = connect(config, stop, supervisor.waits, (topics.TELEMETRY,)).consumer((topics.TELEMETRY,), group)
    _log.info("group %s reads %s", group, topics.TELEMETRY)
    supervisor.ready(f"group {group} reads {topics.TELEMETRY}")
    try:
        while not stop.is_set():
            _read(consumer, recorder, time.monotonic() + flush_s, stop, supervisor)
            offsets = {(topics.TELEMETRY, partition): offset for partition, offset in recorder.flush().items()}
            consumer.commit(offsets)
    finally:
        supervisor.stopping()
        consumer.close()


def _read(
    consumer: "Consumer", recorder: "Recorder", until_s: float, stop: threading.Event, supervisor: "Supervisor"
) -> None:
    from gpuwarden.core.bus import BusError

    while not stop.is_set() and (left_s := until_s - time.monotonic()) > 0:
        supervisor.turned()
        try:
            records = consumer.poll(min(left_s, POLL_S), POLL_RECORDS)
        except BusError as why:
            _log.warning("%s", why)
            stop.wait(PAUSE_S)
            continue
        for record in records:
            recorder.take(record.partition, record.offset, record.value)


def _tell(recorder: "Recorder", args: argparse.Namespace, place: object) -> None:
    made = {"out": str(place), **recorder.figures()}
    if args.json:
        print(json.dumps(made, indent=1))
        return
    rows = ", ".join(f"{count:,} of {kind}" for kind, count in made["rows"].items()) or "no rows"
    how = f"{made['files']:,} files" if "files" in made else f"{made['requests']:,} requests"
    print(f"{made['samples']:,} samples ({rows}) in {how}, {made['bytes'] / 1e6:,.1f} MB, in {place}")
    for name, count in made["refused"].items():
        print(f"{count:,} records were left out: {name}")
    if made.get("dropped"):
        print(f"{made['dropped']:,} points were left out: the server will never take them")
