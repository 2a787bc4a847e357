"""`gpuwarden record`: telemetry from Kafka to Parquet files, for whoever wants to learn from it."""

import argparse
import json
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuwarden.cli.brokers import add_brokers, brokers
from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.core.bus import BusConfig, Consumer
    from gpuwarden.core.notify import Supervisor
    from gpuwarden.detector.history import Recorder

GROUP: Final = "gpuwarden-recorder"
POLL_S: Final = 0.5
POLL_RECORDS: Final = 2000
PAUSE_S: Final = 1.0
MOST_S: Final = 1e9

_log = logging.getLogger("gpuwarden.recorder")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    record = verbs.add_parser("record", help="write the telemetry that comes through Kafka to Parquet files")
    add_brokers(record)
    record.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the history")
    record.add_argument("--flush-s", type=_seconds, default=60.0, metavar="S", help="a file holds so much time (%(default)s)")
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
    from gpuwarden.core.reload import on_hangup
    from gpuwarden.core.service import stop_on_signals
    from gpuwarden.detector.history import Recorder

    config = brokers(args)
    log_to_stderr()
    on_hangup(lambda: _log.info("SIGHUP: a recorder reads no file; what its command line says takes effect with a restart"))
    pa.set_memory_pool(pa.system_memory_pool())  # it runs for years: Arrow's own keeps megabytes of a flush, now more, now fewer
    recorder, stop = Recorder(args.out), stop_on_signals()
    if args.duration is not None:
        timer = threading.Timer(args.duration, stop.set)
        timer.daemon = True
        timer.start()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        _record(config, recorder, args.flush_s, stop)
    except OSError as why:
        raise ConfigError(f"--out: {why}; what is not written there is not committed, and will be read again") from None
    except BusError as why:
        _log.warning("%s", why)
    _tell(recorder, args)
    return 0 if stop.is_set() else 1


def _record(config: "BusConfig", recorder: "Recorder", flush_s: float, stop: threading.Event) -> None:
    """Until `stop`. What is read by then is durable and committed."""
    from gpuwarden.core.connect import connect
    from gpuwarden.core.notify import Supervisor
    from gpuwarden.proto import topics

    supervisor = Supervisor()
    consumer = connect(config, stop, supervisor.waits, (topics.TELEMETRY,)).consumer((topics.TELEMETRY,), GROUP)
    _log.info("group %s reads %s", GROUP, topics.TELEMETRY)
    supervisor.ready(f"group {GROUP} reads {topics.TELEMETRY}")
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


def _tell(recorder: "Recorder", args: argparse.Namespace) -> None:
    made = {"out": str(args.out), **recorder.counts.figures()}
    if args.json:
        print(json.dumps(made, indent=1))
        return
    rows = ", ".join(f"{count:,} of {kind}" for kind, count in made["rows"].items()) or "no rows"
    print(f"{made['samples']:,} samples ({rows}) in {made['files']:,} files, {made['bytes'] / 1e6:,.1f} MB, in {args.out}")
    for name, count in made["refused"].items():
        print(f"{count:,} records were left out: {name}")
