"""A node of one release works with the control plane of the next, and the other way round."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from house import ROOT

from gpuwarden.agent.limiter.lease import Past, Refused, accept
from gpuwarden.core.seal import Way, seal
from gpuwarden.core.version import VERSION, Versions
from gpuwarden.proto.control_pb2 import Hello, SessionRequest, SessionResponse
from gpuwarden.proto.decode import decode
from gpuwarden.proto.encode import encode
from gpuwarden.proto.lease_pb2 import Grant, Mode, PowerReport
from gpuwarden.proto.telemetry_pb2 import Telemetry

RELEASED = sorted((ROOT / "tests" / "proto" / "released").glob("*.binpb"))
UNKNOWN = b"\xfa\xff\x03\x05later"  # field 8191, five bytes: as a later release may have added
KEY = bytes(32)
PAST = Past("n1", "start", 3, None, 2, 10.0, 20.0)


def grant() -> Grant:
    return Grant(
        version=1, node="n1", epoch=3, controller_id="c", sequence=1, echo_limiter_start="start", echo_stamp_s=20.0, lease_s=5.0,
        limits_w=[300.0, 300.0], mode=Mode.MODE_AUTO,
    )


def released(image: Path, name: str) -> type[Message]:
    """A message as the code of that release knows it."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())  # an image is one, with more fields
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"gpuwarden.v1.{name}"))


def test_this_release_too_leaves_its_contracts_here() -> None:
    assert VERSION in [image.stem for image in RELEASED], "buf build -o tests/proto/released/VERSION.binpb"


@pytest.mark.parametrize("image", RELEASED, ids=lambda path: path.stem)
def test_the_contracts_have_only_been_added_to(image: Path) -> None:
    buf = Path(sys.executable).with_name("buf")
    checked = subprocess.run([buf, "breaking", "--against", image], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("image", RELEASED, ids=lambda path: path.stem)
@pytest.mark.parametrize("message", [Hello(version=2, lowest_version=1, node="n1", agent_version="later"), grant(), PowerReport(version=1)])
def test_what_this_release_writes_the_earlier_one_reads(image: Path, message: Message) -> None:
    read = released(image, type(message).__name__).FromString(message.SerializeToString() + UNKNOWN)
    known = {field.json_name for field in read.DESCRIPTOR.fields}
    assert MessageToDict(read) == {key: value for key, value in MessageToDict(message).items() if key in known}


@pytest.mark.parametrize("image", RELEASED, ids=lambda path: path.stem)
def test_what_the_earlier_release_writes_this_one_obeys(image: Path) -> None:
    old = released(image, "Grant").FromString(grant().SerializeToString())
    assert accept(seal(KEY, Way.DOWN, "n1", old.SerializeToString()), KEY, PAST, 21.0) == grant()


def test_a_grant_with_fields_of_a_later_release_is_obeyed_and_one_of_another_meaning_is_not() -> None:
    later = grant().SerializeToString() + UNKNOWN
    assert accept(seal(KEY, Way.DOWN, "n1", later), KEY, PAST, 21.0).limits_w == [300.0, 300.0]
    other = grant()
    other.version = 2
    with pytest.raises(Refused, match="version: is 2"):
        accept(seal(KEY, Way.DOWN, "n1", other.SerializeToString()), KEY, PAST, 21.0)


def test_telemetry_with_fields_of_a_later_release_is_read() -> None:
    payload = encode("n1", "start", 1, 1_000, [], [], [])
    assert Telemetry.FromString(payload).node == "n1"
    assert decode(payload + UNKNOWN).node == decode(payload).node == "n1"


def test_a_message_of_a_kind_that_is_not_known_yet_is_none_that_is_known() -> None:
    assert SessionRequest.FromString(UNKNOWN).WhichOneof("message") is None
    assert SessionResponse.FromString(UNKNOWN).WhichOneof("message") is None


@pytest.mark.parametrize(
    "ours, theirs, agreed",
    [((1, 1), (1, 1), 1), ((1, 2), (1, 1), 1), ((1, 1), (1, 2), 1), ((1, 3), (2, 2), 2), ((2, 3), (1, 1), None), ((1, 1), (2, 2), None)],
)
def test_two_sides_agree_on_the_highest_that_both_speak(ours: tuple[int, int], theirs: tuple[int, int], agreed: int | None) -> None:
    assert Versions(*ours).agree(Versions(*theirs)) == Versions(*theirs).agree(Versions(*ours)) == agreed
