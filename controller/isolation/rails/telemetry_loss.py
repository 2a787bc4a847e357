"""Silence is no fault: an agent that died, a pipeline that lags and a node that is down look the same from here."""

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.signals import Nature, Signal, Sort
from gpuwarden.controller.isolation.wish import NoEvidence


def dropped(signal: Signal, sort: Sort, facts: Facts) -> NoEvidence | None:
    return NoEvidence("silence is no fault") if sort.nature is Nature.SILENCE else None
