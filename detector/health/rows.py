"""Rows of nodes in what `fused.py` has learned: more of them, or blank ones where a node is gone."""

from dataclasses import fields
from typing import Final

import numpy as np

from gpuwarden.detector.health.fused import Health, no_health_known
from gpuwarden.detector.health.others import Numbers
from gpuwarden.detector.health.readings import CARDS

_OF_USUAL: Final = ("offset", "jobs", "correction", "minutes", "smooth", "part", "rated", "capped", "run", "age")
_OF_LAWS: Final = ("smooth", "power")
_OF_LAWS_SECOND: Final = ("offset", "minutes")  # whose first axis is not of nodes
_OF_MAXIMA: Final = ("kept", "newest")
_OF_ROWS: Final = {*_OF_USUAL, *_OF_LAWS, *_OF_LAWS_SECOND, *_OF_MAXIMA}


def grown(health: Health, nodes: int) -> Health:
    """With so many rows; what all rows have in common is the same."""
    made, rows = no_health_known(nodes), np.arange(health.held.shape[0])
    for part, of in ((made.nodes, health.nodes), (made.cards, health.cards), (made.laws, health.laws), (made.maxima, health.maxima)):
        for name in {field.name for field in fields(part)} - _OF_ROWS:
            setattr(part, name, getattr(of, name))
    _put(made, rows, health)
    return made


def blank(health: Health, rows: Numbers) -> None:
    """These know nothing any more."""
    _put(health, rows, no_health_known(len(rows)))


def _put(into: Health, rows: Numbers, of: Health) -> None:
    cards = (CARDS * rows[:, None] + np.arange(CARDS)).ravel()
    for name in _OF_USUAL:
        getattr(into.nodes, name)[rows], getattr(into.cards, name)[cards] = getattr(of.nodes, name), getattr(of.cards, name)
    for name in _OF_LAWS:
        getattr(into.laws, name)[rows] = getattr(of.laws, name)
    for name in _OF_LAWS_SECOND:
        getattr(into.laws, name)[:, rows] = getattr(of.laws, name)
    into.maxima.kept[:, rows], into.maxima.newest[rows] = of.maxima.kept, of.maxima.newest
    into.last[:, rows], into.held[rows] = of.last, of.held
