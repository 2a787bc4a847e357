"""What the isolating machine knows and waits for, as the API tells it."""

import math
from typing import Final

from gpuwarden.controller.isolation.machine import Isolation
from gpuwarden.controller.isolation.records import ActionClass, Answer, Mode, Question
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto import lease_pb2

MODES: Final = {
    Mode.OBSERVE: lease_pb2.MODE_OBSERVE, Mode.NOTIFY: lease_pb2.MODE_NOTIFY, Mode.APPROVE: lease_pb2.MODE_APPROVE, Mode.AUTO: lease_pb2.MODE_AUTO,
}  # fmt: skip


def picture_of(machine: Isolation) -> pb.Isolation:
    """Nodes that are not simply healthy, open questions, and modes."""
    facts = machine.facts
    shown = pb.Isolation(scheduler=facts.config.scheduler, unix_ns=_ns(facts.now_s), scheduler_lost=facts.lost)
    for group in facts.config.groups:
        modes = {kind: MODES[facts.mode_of(group.name, kind)] for kind in ActionClass}
        shown.groups.add(name=group.name, nodes=group.nodes, isolation=modes[ActionClass.ISOLATION], restart=modes[ActionClass.RESTART])
    for node in sorted(facts.cases):
        shown.nodes.append(_node(node, machine))
    shown.questions.extend(_question(one) for one in sorted(facts.questions.values(), key=lambda one: one.asked_s) if one.answer is Answer.OPEN)
    return shown


def _node(node: str, machine: Isolation) -> pb.IsolatedNode:
    facts, case, verdict = machine.facts, machine.facts.cases[node], machine.verdict(node)
    return pb.IsolatedNode(
        name=node, state=facts.shown(node), quarantine=case.id, since_unix_ns=_ns(case.entered_s), cause=case.cause, evidence=verdict.sentence,
        surer=verdict.surer, would_have=case.shadow, ordered_by=case.ordered_by, held_back=machine.held_back(node), jobs=facts.jobs_on(node),
    )  # fmt: skip


def _question(question: Question) -> pb.Question:
    ends_ns = _ns(question.expires_s) if math.isfinite(question.expires_s) else 0
    return pb.Question(
        id=question.id, sentence=question.sentence, asked_unix_ns=_ns(question.asked_s), expires_unix_ns=ends_ns, stops_all=bool(question.latch),
        would_have=question.shadow,
    )  # fmt: skip


def _ns(unix_s: float) -> int:
    return max(0, round(unix_s * 1e9))
