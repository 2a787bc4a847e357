"""What a node's telemetry takes on a broker's disk: a real agent sends to Apache Kafka, and the topic's files are weighed.

    python bench/sizing.py [--seconds 30] [--gpus 8] [--json FILE]

The host's readings are this machine's; the cards are simulated, and real ones may compress better or worse.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "tests")]

from services import kafka, stack

from gpuwarden.core.bus import BusConfig
from gpuwarden.core.connect import connect
from gpuwarden.proto import topics

DOMAIN: Final = 'name = "row"\nrating_w = 50000.0\nbudget_w = 45000.0'
DAY_S: Final = 86_400
WARM_UP_S: Final = 5.0


def weigh(log: Path) -> int:
    """Bytes of the telemetry topic's records as they lie on one broker's disk."""
    return sum(segment.stat().st_size for segment in log.glob(f"{topics.TELEMETRY}-*/*.log"))


def measure(folder: Path, seconds: float, gpus: int) -> dict[str, float]:
    (folder / "kafka").mkdir()
    with kafka.running(folder / "kafka") as broker:
        plan = stack.Plan(nodes=("n1",), domain=DOMAIN, bootstrap=broker.bootstrap, gpus=gpus)
        with stack.running(folder, plan):
            time.sleep(WARM_UP_S + seconds)
        payloads = read(broker.bootstrap)
        disk_bytes = weigh(folder / "kafka" / "log")
    return {
        "samples": len(payloads),
        "gpus": gpus,
        "bytes_per_sample": sum(map(len, payloads)) / len(payloads),
        "disk_bytes_per_sample": disk_bytes / len(payloads),
        "disk_gb_per_node_and_day": disk_bytes / len(payloads) * DAY_S / 1e9,
    }


def read(bootstrap: str) -> list[bytes]:
    consumer, payloads = connect(BusConfig(bootstrap=(bootstrap,))).consumer((topics.TELEMETRY,), "sizing"), list[bytes]()
    while records := consumer.poll(5.0, 1000):
        payloads += [record.value for record in records]
    consumer.close()
    return payloads


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--gpus", type=int, default=8)
    options.add_argument("--json", type=Path)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args.seconds, args.gpus)
    print(
        f"{found['samples']:,} samples of {found['gpus']} GPUs: {found['bytes_per_sample']:,.0f} bytes each, {found['disk_bytes_per_sample']:,.0f} "
        f"on disk; a node and day {found['disk_gb_per_node_and_day']:.3f} GB a replica, 1,000 nodes with three "
        f"{3 * found['disk_gb_per_node_and_day']:,.2f} TB"
    )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
