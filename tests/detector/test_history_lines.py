"""What of telemetry may become a line of InfluxDB's, and what its configuration may say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.core.config import ConfigError, parse
from gpuwarden.detector.history_config import RecorderConfig
from gpuwarden.detector.history_lines import MOST_NS, check, lines, start_of
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.decode import MAX_NAME_CHARS, Refused, decode
from gpuwarden.proto.encode import encode, encode_block


def sample(node: str = "gpu01", device: str = "GPU-0", sequence: int = 1, unix_ns: int = 5, value: float = 0.1) -> Any:
    block = encode_block(Device.GPU, [device], [BY_NAME["gpu_power_watts"]], [[value]])
    return decode(encode(node, "start-a", sequence, unix_ns, [block]))


def test_a_reading_is_the_shortest_number_that_is_the_same_float32() -> None:
    record, card = lines(sample())
    assert record == ("record", f"record,node=gpu01 record_sequence=1i,record_agent_start={start_of('start-a')}i 5")
    assert card == ("gpu", "gpu,node=gpu01,device_id=GPU-0 gpu_power_watts=0.1 5")


def test_a_device_without_a_reading_has_no_point() -> None:
    assert [measurement for measurement, _ in lines(sample(value=float("nan")))] == ["record"]


def test_a_start_is_told_exactly_by_a_float() -> None:
    assert all(int(float(start_of(str(n)))) == start_of(str(n)) for n in range(1000))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("unix_ns", {"unix_ns": MOST_NS + 1}),
        ("sequence", {"sequence": 2**64 - 1}),
        ("node", {"node": "a\nb"}),
        ("node", {"node": "a\\"}),
        ("blocks.device_ids", {"device": ""}),
        ("blocks.device_ids", {"device": "GPU\\ 0"}),
    ],
)
def test_what_a_line_cannot_hold_is_refused(field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        check(sample(**wrong))
    assert refused.value.field == field


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_NAME_CHARS))
def test_whatever_a_node_is_called_its_lines_are_one_line_each_or_it_is_refused(node: str) -> None:
    one = sample(node)
    try:
        check(one)
    except Refused:
        return
    assert all(len(line.splitlines()) == 1 and not line.startswith("#") for _, line in lines(one))


GOOD = {"url": "https://influx:8086", "bucket": "telemetry", "token_file": "/t"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"url": "influx:8086"}, "influx.url: is 'influx:8086', should be http:// or https://"),
        ({"url": "https://a:b@influx:8086"}, "influx.url: "),
        ({"url": "https://influx:port"}, "influx.url: "),
        ({"url": "http://influx:8086"}, "sends the token in clear"),
        ({"bucket": ""}, "influx.bucket: is empty"),
        ({"token": "secret"}, "influx.token: unknown key; did you mean token_file?"),
        ({"url": "http://127.0.0.1:1", "ssl_ca_file": "/ca"}, "influx.ssl_ca_file: is of no use"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_its_key(wrong: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace(".", r"\.").replace("?", r"\?")):
        parse({"bus": {"bootstrap": ["k:9092"]}, "influx": GOOD | wrong}, RecorderConfig)


@pytest.mark.parametrize("more", [{}, {"url": "http://127.0.0.1:8086"}, {"url": "http://[::1]:8086"}, {"url": "http://localhost"}])
def test_a_token_goes_over_https_or_not_far(more: dict[str, str]) -> None:
    config = parse({"bus": {"bootstrap": ["k:9092"]}, "influx": GOOD | more}, RecorderConfig)
    assert config.influx is not None
