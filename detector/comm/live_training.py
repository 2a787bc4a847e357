"""What is told of a running job's training: findings for people, and its phase and step for whoever has to know whether it stands still without being ill."""

import math
from typing import Final

from gpuwarden.detector.comm.training import BEGUN, Training
from gpuwarden.detector.events import PublishProgress
from gpuwarden.detector.findings import Claim, Key
from gpuwarden.detector.rules.rule import WARNING
from gpuwarden.proto.comm_pb2 import CommPhase
from gpuwarden.proto.finding_pb2 import Evidence, Subject, SubjectKind
from gpuwarden.proto.progress_pb2 import JobPhase, JobProgress

NOT_FINITE, SPIKE, STANDS = "loss_not_finite", "loss_spike", "no_progress"
DETECTOR: Final = "comm/training"
PROGRESS_VERSION: Final = 1
PROGRESS_S: Final = 10.0
_PHASES: Final = {CommPhase.COMM_PHASE_CHECKPOINT: JobPhase.JOB_PHASE_CHECKPOINT, CommPhase.COMM_PHASE_EVALUATION: JobPhase.JOB_PHASE_EVALUATION}
DO: Final = {
    NOT_FINITE: "Go on from a checkpoint of before; if it comes again at the same step look at the data, else compare the nodes: memory errors, XIDs.",
    SPIKE: "Watch whether it comes down by itself; if not go on from a checkpoint of before, and look at the data and the learning rate.",
    STANDS: "See which rank the others wait for (`rank_hang`, `job_hang`); if there is none, look at rank 0: data loader, file system, log.",
}


def claims(job: str, training: Training, now_s: float) -> dict[Key, Claim]:
    found = dict[Key, Claim]()
    step, subject = training.step, Subject(kind=SubjectKind.SUBJECT_KIND_JOB, node=training.node, id=job)

    def claim(kind: str, said: str, *evidence: Evidence) -> None:
        one = Claim(kind, subject, WARNING, 1.0, f"job {job}, step {step}: {said}", DO[kind], DETECTOR, evidence)
        found[one.key] = one

    if training.not_finite:
        claim(NOT_FINITE, f"the loss is {_number(training.loss)}, the norm of the gradients {_number(training.grad_norm)}")
    if training.spikes and training.loss is not None:
        claim(SPIKE, f"the loss is {training.loss:.4g}, {training.usual:.4g} is usual", Evidence(name="loss", value=training.loss, expected=training.usual))
    if (stood_s := training.stands_s(now_s)) is not None:
        usual_s = training.step_s
        claim(STANDS, f"no step for {stood_s:.0f} s, {usual_s:.3g} s is usual", Evidence(name="since the last step", value=stood_s, expected=usual_s, unit="s"))
    return found


def _number(value: float | None) -> str:
    return "not told" if value is None else f"{value:.4g}"


def progress(job: str, training: Training, now_s: float, unix_ns: int) -> PublishProgress:
    """By this detector's wall clock."""
    phase, since_s = _phase(training, now_s)
    made = JobProgress(
        version=PROGRESS_VERSION, job_id=job, updated_unix_ns=unix_ns, phase=phase, phase_since_unix_ns=_unix_ns(since_s, now_s, unix_ns), step=training.step or 0,
        step_s=training.step_s, loss=training.loss if training.loss is not None and math.isfinite(training.loss) else None,
        checkpointed_unix_ns=0 if training.checkpointed_s is None else _unix_ns(training.checkpointed_s, now_s, unix_ns),
    )  # fmt: skip
    return PublishProgress(job, made.SerializeToString())


def _phase(training: Training, now_s: float) -> tuple["JobPhase.ValueType", float]:
    if training.ended:
        return JobPhase.JOB_PHASE_ENDED, training.alive_s
    if (pause := training.pause(now_s)) is not None:
        return _PHASES[pause[0]], pause[1]
    return (JobPhase.JOB_PHASE_TRAINING if training.steps >= BEGUN else JobPhase.JOB_PHASE_STARTING), training.moved_s


def _unix_ns(at_s: float, now_s: float, unix_ns: int) -> int:
    return unix_ns - int(1e9 * (now_s - at_s))
