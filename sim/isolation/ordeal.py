"""One random schedule of faults from beginning to end, and what came of it. The same seed, the same schedule."""

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final

from gpuwarden.controller.isolation.judging import ALL, Rails
from gpuwarden.sim.isolation.checker import Checker
from gpuwarden.sim.isolation.faults import FAULTS, Heal
from gpuwarden.sim.isolation.world import World

DAY_S: Final = 86_400.0
CALM_S: Final = 4 * 3600.0  # at last, without faults: what is to come has come by then
FAULTS_LEAST: Final = 3
FAULTS_MOST: Final = 12
BURST_S: Final = (2.0, 90.0)  # from one fault to the next, half of the time: while what the one before led to is under way
LASTS_S: Final = (60.0, 5400.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`struck` counts faults by the state of the node that they struck."""

    seed: int
    acts: int
    broken: tuple[str, ...]
    struck: Counter[tuple[str, str]]


def undergo(seed: int, rails: Rails = ALL) -> Outcome:
    """A day and a few hours, with 3 to 12 faults that strike."""
    chance, checker = Random(seed), Checker()
    world = World(chance, checker.see, rails)
    checker.world = world
    struck = Counter[tuple[str, str]]()
    ends: list[tuple[float, Heal]] = []
    wanted = chance.randint(FAULTS_LEAST, FAULTS_MOST)
    at_s = 0.0
    while struck.total() < wanted or at_s < DAY_S:
        at_s += chance.expovariate(wanted / DAY_S) if chance.random() < 0.5 else chance.uniform(*BURST_S)
        _heal(world, ends, at_s)
        world.advance(at_s)
        if struck.total() < 2 * wanted:
            _strike(world, ends, struck)
    _heal(world, ends, float("inf"))
    world.advance(world.cluster.now_s + CALM_S)
    return Outcome(seed, checker.acts, (*checker.broken, *checker.at_last(world)), struck)


def _strike(world: World, ends: list[tuple[float, Heal]], struck: Counter[tuple[str, str]]) -> None:
    """Half of the time a node that is in trouble already."""
    in_trouble = sorted(world.shell.machine.facts.cases)
    node = world.chance.choice(in_trouble if in_trouble and world.chance.random() < 0.5 else list(world.cluster.nodes))
    name, state = world.chance.choice(tuple(FAULTS)), world.shell.machine.facts.state(node).value
    world.stir()
    heal = FAULTS[name](world, node)
    if heal is not None:
        struck[name, state] += 1
        ends.append((world.cluster.now_s + world.chance.uniform(*LASTS_S), heal))


def _heal(world: World, ends: list[tuple[float, Heal]], until_s: float) -> None:
    for end in sorted((one for one in ends if one[0] <= until_s), key=lambda one: one[0]):
        ends.remove(end)
        world.advance(end[0])
        world.stir()
        end[1]()
