"""What an operator last set, over what the configuration says."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpuwarden.controller.events import Action
from gpuwarden.controller.power.domain import DomainConfig, budget_problem
from gpuwarden.core.machine import Level, Say
from gpuwarden.proto.lease_pb2 import Mode

MODES = {"observe": Mode.MODE_OBSERVE, "notify": Mode.MODE_NOTIFY, "auto": Mode.MODE_AUTO}


@dataclass(frozen=True, slots=True)
class Remembered:
    """A domain's budget and mode as an operator last set them."""

    domain: str
    budget_w: float
    mode: "Mode.ValueType"


def recall(
    config: DomainConfig, remembered: Sequence[Remembered]
) -> tuple[tuple[float, "Mode.ValueType"], list[Action]]:
    """(budget in W, mode) to begin with, and what is to be said about it."""
    configured_w = config.budget_w if config.budget_w is not None else config.rating_w
    for past in remembered:
        if past.domain != config.name:
            continue
        if problem := budget_problem(config, past.budget_w):
            said = f"{config.name}: the budget that an operator set {problem}; using the configuration's {configured_w:,.0f} W"
            return (configured_w, past.mode), [Say(said, Level.WARNING)]
        return (past.budget_w, past.mode), []
    return (configured_w, MODES[config.mode]), []
