"""Operators' requests: checked, written down, remembered, answered. The same request twice has one effect."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from gpuwarden.controller.answered import Answered, Refusal
from gpuwarden.controller.events import Action, RememberDomain, Reply, SetBudget, SetMode, WriteLedger
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.power.domain import budget_problem
from gpuwarden.controller.power.keeper import Keeper
from gpuwarden.controller.view import power_domain
from gpuwarden.proto.control_pb2 import SetBudgetResponse, SetModeResponse
from gpuwarden.proto.lease_pb2 import Mode


class Requests:
    """Changes keepers on an operator's word."""

    def __init__(self, keepers: Mapping[str, Keeper], lines: Lines) -> None:
        self._keepers, self._lines = keepers, lines
        self._answered = Answered[SetBudget | SetMode]()

    def set_budget(self, now_s: float, request: SetBudget) -> list[Action]:
        return self._answered.answer(request, self._budget(now_s, request))

    def set_mode(self, now_s: float, request: SetMode) -> list[Action]:
        return self._answered.answer(request, self._mode(now_s, request))

    def _budget(self, now_s: float, request: SetBudget) -> Iterator[Action]:
        keeper = keeper_named(self._keepers, request.domain)
        if problem := budget_problem(keeper.config, request.budget_w):
            impossible = not (math.isfinite(request.budget_w) and request.budget_w > 0)
            code, reason = ("INVALID_ARGUMENT", "BAD_BUDGET") if impossible else ("FAILED_PRECONDITION", "BUDGET_CANNOT_HOLD")
            raise Refusal(code, reason, "budget_w", f"budget_w: {problem}")
        if not request.validate_only:
            why = f"budget set from {keeper.budget_w:,.0f} to {request.budget_w:,.0f} W"
            yield WriteLedger((self._lines.line("budget", request.domain, why, actor=request.actor),))
            keeper.loads.set_budget(request.budget_w)
            yield RememberDomain(request.domain, keeper.budget_w, keeper.mode)
        shown = power_domain(now_s, keeper)
        shown.budget_w = request.budget_w
        yield Reply(request.token, SetBudgetResponse(domain=shown).SerializeToString())

    def _mode(self, now_s: float, request: SetMode) -> Iterator[Action]:
        keeper = keeper_named(self._keepers, request.domain)
        _known_mode(request.mode)
        warning = _leaving(keeper, request.mode)
        if warning and not request.force:
            raise Refusal("FAILED_PRECONDITION", "WOULD_NOT_HOLD", "mode", f"mode: {warning}; force it if you mean it")
        if not request.validate_only:
            why = f"mode set from {_word(keeper.mode)} to {_word(request.mode)}" + (f", forced: {warning}" if warning else "")
            yield WriteLedger((self._lines.line("mode", request.domain, why, actor=request.actor),))
            keeper.set_mode(request.mode)
            yield RememberDomain(request.domain, keeper.budget_w, keeper.mode)
        shown = power_domain(now_s, keeper)
        shown.mode = request.mode
        yield Reply(request.token, SetModeResponse(domain=shown, warning=warning).SerializeToString())


def keeper_named(keepers: Mapping[str, Keeper], name: str) -> Keeper:
    """Refusal if there is none."""
    if name not in keepers:
        raise Refusal("NOT_FOUND", "UNKNOWN_DOMAIN", "domain", f"there is no power domain {name!r}; there are {', '.join(keepers)}")
    return keepers[name]


def _known_mode(mode: int) -> None:
    if mode == Mode.MODE_APPROVE:
        raise Refusal("UNIMPLEMENTED", "NO_APPROVALS", "mode", "mode: approve is of isolation and restart, a power cut never waits; use observe, notify or auto")
    if mode not in (Mode.MODE_OBSERVE, Mode.MODE_NOTIFY, Mode.MODE_AUTO):
        raise Refusal("INVALID_ARGUMENT", "BAD_MODE", "mode", f"mode: is {mode}, should be observe, notify or auto")


def _leaving(keeper: Keeper, mode: int) -> str:
    """What may trip when this domain leaves auto; empty if nothing does."""
    if keeper.mode != Mode.MODE_AUTO or mode == Mode.MODE_AUTO:
        return ""
    for level in reversed(keeper.tree.levels):
        without_us_w = level.totals_w(level.members.default_w)
        for place in np.flatnonzero(without_us_w > level.ratings_w).tolist():
            return (
                f"outside auto {level.names[place]} may draw {without_us_w[place]:,.0f} W at the driver's defaults, "
                f"its breaker carries {level.ratings_w[place]:,.0f} W"
            )
    return ""


def _word(mode: "Mode.ValueType") -> str:
    return Mode.Name(mode).removeprefix("MODE_").lower()
