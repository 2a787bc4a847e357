"""A row with inference servers and a training job: the job's nodes come after the servers."""

from math import inf

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.serving.relation import Relation
from gpuwarden.sim.serving.servers import Servers
from gpuwarden.sim.serving.training import Training

Values = NDArray[np.float64]


class Mixed:
    """As `Servers`."""

    def __init__(self, servers: Servers, training: Training, relation: Relation) -> None:
        self._servers, self.training, self._relation = servers, training, relation
        self._count = len(servers.watts)
        self._clocks: Values = np.ones(len(training.watts))
        self.step_s, self.step_w, self.finish_s = servers.step_s, servers.step_w, servers.finish_s

    @property
    def watts(self) -> Values:
        return np.concatenate([self._servers.watts, self.training.watts])

    def advance(self, until_s: float) -> None:
        while self.training.due_s < until_s:
            self._servers.advance(self.training.due_s)
            self.training.go_on()
        self._servers.advance(until_s)

    def lock(self, now_s: float, clocks: Values) -> None:
        self._servers.lock(now_s, clocks[: self._count])
        savings = self._relation.power(clocks[self._count :])
        for node in np.flatnonzero(clocks[self._count :] != self._clocks).tolist():
            self.training.hold(now_s, node, float(savings[node]))
        self._clocks = clocks[self._count :]

    def hold(self, now_s: float, number: int, clock: float, most_w: float = inf) -> None:
        if number < self._count:
            self._servers.hold(now_s, number, clock, most_w)
        else:
            self.training.hold(now_s, number - self._count, float(self._relation.power(np.array([clock]))[0]), most_w)
