"""kafka-python repeats itself while a broker is away; our log does not."""

import logging

import pytest

from gpuwarden.core.bus_kafka_log import listen_to_kafka


def test_what_kafka_python_repeats_is_heard_once_and_anything_else_too(caplog: pytest.LogCaptureFixture) -> None:
    listen_to_kafka()
    listen_to_kafka()
    network = logging.getLogger("kafka.net.test")
    for attempt in range(5):
        network.warning("connection failed, attempt %d", attempt)
    network.error("certificate %s has expired", "c.pem")
    ours = [record.getMessage() for record in caplog.records if record.name == "gpuwarden.bus.kafka"]
    assert ours == ["connection failed, attempt 0", "certificate c.pem has expired"]


def test_what_the_library_raised_is_said_without_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    listen_to_kafka()
    try:
        raise AttributeError("'NoneType' object has no attribute 'recv'")
    except AttributeError:
        logging.getLogger("kafka.net").exception("connection %d: read", 7)
    (record,) = [record for record in caplog.records if record.name == "gpuwarden.bus.kafka"]
    assert record.getMessage() == "connection 7: read: AttributeError: 'NoneType' object has no attribute 'recv'"
    assert record.exc_info is None
