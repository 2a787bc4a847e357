"""How a running job's training gets on, as its script or its log says: by steps, with pauses that it tells of, and losses.

Kinds of trouble after Ling's training anomalies: a loss that is no number, one that jumps, and no progress. A checkpoint or an evaluation that was told of is no hang.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gpuwarden.detector.comm.patience import Patience
from gpuwarden.detector.robust import NORMAL
from gpuwarden.proto.comm_pb2 import CommPhase, CommProgress

TRAINS: Final = CommPhase.COMM_PHASE_UNSPECIFIED
BEGUN: Final = 3  # steps
PAUSE_S: Final = 1800.0  # for so long a pause is believed, or for PAUSES times the longest that came to an end
PAUSES: Final = 3.0
LEAST_S: Final = 60.0  # without a step, before that is trouble
ALIVE_S: Final = 15.0  # since anything came from where the steps are told: an agent's silence is not the job's
LOSSES: Final = 128
LEAST_LOSSES: Final = 50
SPIKE: Final = 10.0  # standard deviations above the middle, and half as much again as that
SPIKE_SHARE: Final = 0.5
SPIKES, OF_LAST = 3, 5
FINITE_AGAIN: Final = 20  # losses
MOST_RANKS: Final = 4096
WEIGHT: Final = 0.1


@dataclass(slots=True)
class Training:
    """Mutable. `step` is the newest of any rank, at which it came at `moved_s`; `node` says so, and was last heard at `alive_s`."""

    step: int | None = None
    node: str = ""
    moved_s: float = 0.0
    alive_s: float = 0.0
    step_s: float = 0.0
    steps: int = 0
    loss: float | None = None
    grad_norm: float | None = None
    ended: bool = False
    checkpointed_s: float | None = None
    patience: Patience = field(default_factory=Patience)
    high: deque[bool] = field(default_factory=lambda: deque(maxlen=OF_LAST))
    _finite: int = FINITE_AGAIN
    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=LOSSES))
    _phases: dict[int, tuple["CommPhase.ValueType", float]] = field(default_factory=dict)
    _longest_s: float = 0.0

    def take(self, now_s: float, node: str, said: CommProgress) -> None:
        at_s = now_s - said.age_s
        self.node, self.alive_s, self.ended = node, now_s, said.ended
        if said.ended:
            self._phases.pop(said.rank, None)
            return
        self._enter(said.rank, said.phase, at_s)
        self._steps_to(said.step, at_s)
        if said.phase == TRAINS:
            self._judge(said.loss if said.HasField("loss") else None, said.grad_norm if said.HasField("grad_norm") else None)

    def _enter(self, rank: int, phase: "CommPhase.ValueType", at_s: float) -> None:
        was, since_s = self._phases.get(rank, (TRAINS, at_s))
        if was != TRAINS and phase != was:
            self._longest_s = max(self._longest_s, at_s - since_s)
            self.moved_s = max(self.moved_s, at_s)
            if was == CommPhase.COMM_PHASE_CHECKPOINT:
                self.checkpointed_s = at_s
        if phase != was and len(self._phases) < MOST_RANKS:
            self._phases[rank] = phase, at_s
        if phase == TRAINS:
            self._phases.pop(rank, None)

    def _steps_to(self, step: int, at_s: float) -> None:
        if self.step is None or step < self.step:  # it goes on from a checkpoint
            self.step, self.moved_s, self.steps = step, at_s, 0
        elif step > self.step:
            each_s = max(at_s - self.moved_s, 0.0) / (step - self.step)
            self.step_s = each_s if not self.step_s else (1 - WEIGHT) * self.step_s + WEIGHT * each_s
            self.patience.done(at_s, max(at_s - self.moved_s, 0.0), step - self.step, max(at_s - self.moved_s, 0.0))
            self.steps += step - self.step
            self.step, self.moved_s = step, at_s

    def _judge(self, loss: float | None, grad_norm: float | None) -> None:
        self.loss, self.grad_norm = loss, grad_norm
        told = [one for one in (loss, grad_norm) if one is not None]
        if told:
            self._finite = 0 if not all(map(math.isfinite, told)) else self._finite + 1
        if loss is not None and math.isfinite(loss):
            self.high.append(len(self._losses) >= LEAST_LOSSES and loss > self.most)
            self._losses.append(loss)

    @property
    def usual(self) -> float:
        return float(np.median(self._losses)) if self._losses else math.nan

    @property
    def most(self) -> float:
        """That a loss may be."""
        spread = NORMAL * float(np.median(np.abs(np.array(self._losses) - self.usual)))
        return self.usual + max(SPIKE * spread, SPIKE_SHARE * abs(self.usual))

    @property
    def not_finite(self) -> bool:
        return self._finite < FINITE_AGAIN

    @property
    def spikes(self) -> bool:
        return sum(self.high) >= SPIKES

    def pause(self, now_s: float) -> tuple["CommPhase.ValueType", float] | None:
        """What it does instead of training and since when, for as long as that is believed."""
        phases = [told for told in self._phases.values() if now_s - told[1] < max(PAUSE_S, PAUSES * self._longest_s)]
        return min(phases, key=lambda told: told[1], default=None)

    def stands_s(self, now_s: float) -> float | None:
        """For how long nothing got on, where that is longer than it may be; None where nobody can say so."""
        stood_s = now_s - self.moved_s
        alive = now_s - self.alive_s < ALIVE_S
        if self.ended or not alive or self.steps < BEGUN or self.pause(now_s) is not None or stood_s <= max(LEAST_S, self.patience.patience_s):
            return None
        return stood_s
