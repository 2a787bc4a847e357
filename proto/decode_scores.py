"""Reads a record of `gpuwarden.scores.v1`, and checks it once, at the door: inside it is trusted."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from gpuwarden.proto.decode import MAX_NAME_CHARS, MAX_PAYLOAD_BYTES, Matrix, Refused
from gpuwarden.proto.decode_comm_parts import MAX_TEXT_CHARS
from gpuwarden.proto.scores_pb2 import MinuteSummaries, NodeMinute

SCORES_VERSION: Final = 1
CARDS: Final = 8
MAX_NODES: Final = 1000
MAX_METRICS: Final = 256
MAX_MINUTE: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Summaries:
    """`cards` (nodes, CARDS, card_metrics), `hosts` (nodes, host_metrics); metrics are the catalogue's numbers, minutes since 1970 UTC."""

    detector_start: str
    sequence: int
    unix_ns: int
    told_minute: int
    nodes: tuple[NodeMinute, ...]
    card_metrics: tuple[int, ...]
    host_metrics: tuple[int, ...]
    cards: NDArray[np.float32]
    hosts: Matrix


def decode_scores(payload: bytes) -> Summaries:
    """Or Refused."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Refused("payload", f"has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may come")
    try:
        message = MinuteSummaries.FromString(payload)
    except DecodeError as why:
        raise Refused("payload", f"is not a MinuteSummaries message: {why}") from None
    _check_head(message)
    for node in message.nodes:
        _check_node(node)
    cards = _matrix("cards", message.cards, (len(message.nodes), CARDS, len(message.card_metrics)))
    hosts = _matrix("hosts", message.hosts, (len(message.nodes), len(message.host_metrics)))
    return Summaries(
        message.detector_start, message.sequence, message.unix_ns, message.told_minute, tuple(message.nodes),
        tuple(message.card_metrics), tuple(message.host_metrics), cards, hosts,
    )  # fmt: skip


def _check_head(message: MinuteSummaries) -> None:
    if message.version != SCORES_VERSION:
        raise Refused("version", f"is {message.version}, this reader knows {SCORES_VERSION}")
    _check_text("detector_start", message.detector_start, 1, MAX_NAME_CHARS)
    if message.sequence == 0:
        raise Refused("sequence", "is 0, counting starts at 1")
    _check_minute("told_minute", message.told_minute)
    if len(message.nodes) > MAX_NODES:
        raise Refused("nodes", f"are {len(message.nodes)}, at most {MAX_NODES} may come")
    for field, metrics in (("card_metrics", message.card_metrics), ("host_metrics", message.host_metrics)):
        if len(metrics) > MAX_METRICS or len(set(metrics)) != len(metrics):
            raise Refused(field, f"are {len(metrics)}, at most {MAX_METRICS} may come, each once")


def _check_node(node: NodeMinute) -> None:
    _check_text("nodes.node", node.node, 1, MAX_NAME_CHARS)
    _check_text("nodes.job_id", node.job_id, 0, MAX_TEXT_CHARS)
    _check_minute("nodes.minute", node.minute)
    if len(node.cards) > CARDS or len(set(node.cards)) != len(node.cards):
        raise Refused("nodes.cards", f"are {len(node.cards)}, at most {CARDS} may come, each once")
    for card in node.cards:
        _check_text("nodes.cards", card, 1, MAX_NAME_CHARS)


def _check_text(field: str, text: str, least: int, most: int) -> None:
    if not least <= len(text) <= most:
        raise Refused(field, f"has {len(text)} characters, {least} to {most} may come")


def _check_minute(field: str, minute: int) -> None:
    if minute > MAX_MINUTE:
        raise Refused(field, f"is {minute}, at most {MAX_MINUTE} may come")


def _matrix(field: str, values: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    wanted = 4 * int(np.prod(shape))
    if len(values) != wanted:
        raise Refused(field, f"has {len(values)} bytes, {' x '.join(map(str, shape))} values need {wanted}")
    matrix = np.frombuffer(values, "<f4").reshape(shape)
    if np.isinf(matrix).any():
        raise Refused(field, "hold an infinity")
    return matrix
