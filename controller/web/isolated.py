"""Isolation as the page takes it: questions that wait for a person, nodes that are not simply healthy, and by whose word anything is done."""

from typing import Any, Final

from gpuwarden.controller.web import words
from gpuwarden.proto.control_pb2 import IsolatedNode, Isolation, Question

# What a person can take in; the counts tell of the rest.
NODES: Final = 40
QUESTIONS: Final = 20


def isolated(shown: Isolation) -> dict[str, Any]:
    """Questions as they were asked, the oldest first; nodes that wait for something first, then by name."""
    nodes = sorted(shown.nodes, key=lambda node: (not node.held_back, node.name))
    return {
        "trouble": shown.stopped or (f"{shown.scheduler} does not answer: {shown.scheduler_lost}" if shown.scheduler_lost else ""),
        "groups": [{"name": one.name, "isolation": words.mode(one.isolation), "restart": words.mode(one.restart)} for one in shown.groups],
        "questions": [_question(one) for one in shown.questions[:QUESTIONS]],
        "questions_left_out": max(len(shown.questions) - QUESTIONS, 0),
        "nodes": [_node(one) for one in nodes[:NODES]],
        "nodes_left_out": max(len(nodes) - NODES, 0),
    }


def _question(one: Question) -> dict[str, Any]:
    return {
        "id": one.id,
        "sentence": one.sentence,
        "asked_unix_s": one.asked_unix_ns / 1e9,
        "expires_unix_s": one.expires_unix_ns / 1e9 or None,
        "stops_all": one.stops_all,
        "would_have": one.would_have,
    }


def _node(one: IsolatedNode) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": one.state,
        "since_unix_s": one.since_unix_ns / 1e9,
        "evidence": one.evidence or one.cause,
        "surer": one.surer,
        "would_have": one.would_have,
        "ordered_by": one.ordered_by,
        "held_back": list(one.held_back),
        "jobs": list(one.jobs),
    }
