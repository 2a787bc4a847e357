"""Daemons between brokers that ask who they are: rights as `gpuwarden topics --acls` gives them are enough, and no more."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from services.kafka_secure import ADMIN, SecureBroker

from gpuwarden.cli.main import main
from gpuwarden.core.bus import BusConfig, Consumer
from gpuwarden.core.bus_roles import AGENT, CONTROLLER, RECORDER
from gpuwarden.core.connect import connect
from gpuwarden.proto import topics
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.finding_pb2 import Finding
from gpuwarden.proto.telemetry_pb2 import DeviceEvent

EVENTUALLY_S = 45.0
NODE = "e2e-secured"


def table(config: BusConfig) -> str:
    """The `[bus]` table of a user with a password."""
    return f"""
[bus]
bootstrap = ["{config.bootstrap[0]}"]
security_protocol = "SASL_SSL"
ssl_ca_file = "{config.ssl_ca_file}"
sasl_username = "{config.sasl_username}"
sasl_password_file = "{config.sasl_password_file}"
"""


@pytest.fixture
def detector(secure_broker: SecureBroker, tmp_path: Path) -> Iterator[Path]:
    """A detector as the user of that name; what it says is in the file."""
    (tmp_path / "admin.toml").write_text(table(secure_broker.user(ADMIN)))
    main(["topics", "--config", str(tmp_path / "admin.toml"), "--acls", "--partitions", "4"])
    (tmp_path / "detector.toml").write_text("stale_s = 3\n" + table(secure_broker.user("detector")))
    log = tmp_path / "log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "gpuwarden.cli", "detector", "--config", str(tmp_path / "detector.toml")]
        daemon = subprocess.Popen(command, stderr=out)
    yield log
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(20) == 0


def telemetry() -> bytes:
    block = encode_block(Device.GPU, ["GPU-0"], [BY_NAME["gpu_power_watts"]], [[500.0]])
    return encode(NODE, "start", 1, time.time_ns(), [block], events=[DeviceEvent(kind="xid", device_id="GPU-0", code=79)])


def wait_for(consumer: Consumer, key: str, part: bytes) -> bytes:
    """The first value under the key that has this in it."""
    end_s = time.monotonic() + EVENTUALLY_S
    while time.monotonic() < end_s:
        for record in consumer.poll(0.2, 1000):
            if record.key == key and part in record.value:
                return record.value
    raise AssertionError(f"nothing under {key} with {part!r} in {EVENTUALLY_S} s")


def test_from_an_agents_telemetry_to_the_controllers_finding_each_with_its_own_rights(
    secure_broker: SecureBroker, detector: Path
) -> None:
    agent = connect(secure_broker.holder("agent", NODE), wanted=AGENT.topics)
    controller = connect(secure_broker.user("controller"), wanted=CONTROLLER.topics)
    recorder = connect(secure_broker.user("recorder"), wanted=RECORDER.topics)
    with closing(agent.producer()) as producer:
        producer.send(topics.TELEMETRY, NODE, telemetry())
        producer.send(topics.TELEMETRY, NODE, b"\xff\xff")
        producer.flush(10.0)
    with closing(controller.consumer([topics.FINDINGS], "gpuwarden-controller-e2e")) as consumer:
        assert Finding.FromString(wait_for(consumer, f"{NODE}/GPU-0", b"xid_79")).kind == "xid_79"
    with closing(recorder.consumer([topics.DEAD_LETTER], "gpuwarden-recorder-e2e")) as consumer:
        assert b"payload" in wait_for(consumer, topics.TELEMETRY, NODE.encode())
    assert "AuthorizationFailed" not in detector.read_text()
