"""Silence is no fault: an agent that died, a pipeline that lags and a node that is down look the same from here."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.signals import Nature, Signal, Sort


def dropped(signal: Signal, sort: Sort, facts: Facts) -> str:
    return "silence is no fault" if sort.nature is Nature.SILENCE else ""
