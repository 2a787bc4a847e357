"""A training job in a row: what its nodes were recorded to draw, played again and again, and what is lost where they may not.

Work that was held back is not made up for: the recording goes on. In synchronous training the slowest node holds all back, so the job goes at
its pace; that the others draw less while they wait is left out, which leaves the row's power too high rather than too low.
"""

from array import array
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.powerlog import PowerLog
from gpuwarden.sim.serving.model import Server

Values = NDArray[np.float64]

# Of what the cards want, how much is left, and how much longer the same work takes: Zeus's measurements (`zeus_power_limit_{v100,a40}.csv`), of
# each limit the median power and the 90th percentile of the time over all trainings that draw 70 % of the highest limit, movielens left out, and
# of both cards the dearer. Nobody measured less than 0.414: there it stays.
LEFT: Final = (0.414, 0.511, 0.590, 0.665, 0.747, 0.833, 0.930, 1.0)
TIME: Final = (4.086, 2.737, 1.800, 1.317, 1.122, 1.067, 1.025, 1.0)
RECORDED_NAMEPLATE_W: Final = 10_200.0  # of the H100 node whose draw was recorded
NAMEPLATE_W: Final = 6_500.0  # of a DGX A100


@dataclass(frozen=True, eq=False)
class Job:
    """Rows in order of time: from `time_s` on the cards of `node` want `wanted_w`. After `period_s` it begins again."""

    nodes: int
    period_s: float
    time_s: list[float]
    node: list[int]
    wanted_w: list[float]


def job_of(log: PowerLog, nodes: int, server: Server, begin_s: float = 0.0) -> Job:
    """The first nodes of a log, as shares of nameplate: of a server's nameplate, less what is not its cards'. `begin_s`: where in the log the job begins."""
    chosen = log.index < nodes
    time_s, node = log.time_s[chosen], log.index[chosen]
    period_s = float(time_s[-1] + np.median(np.diff(time_s[node == 0])))
    wanted_w = np.maximum(log.power_w[chosen] * (NAMEPLATE_W / RECORDED_NAMEPLATE_W) - server.base_w, 0.0)
    played_s = (time_s - begin_s) % period_s
    order = np.argsort(played_s, kind="stable")
    return Job(nodes, period_s, played_s[order].tolist(), node[order].tolist(), wanted_w[order].tolist())


class Training:
    """`step_s`, `step_w`: where the row keeps when its power changed and by how much."""

    def __init__(self, job: Job, server: Server, step_s: list[float], step_w: list[float]) -> None:
        self._job, self._base_w = job, server.base_w
        self._idle_w = server.gpus * server.tdp_w * server.idle_ratio
        self._step_s, self._step_w = step_s, step_w
        self._wanted_w = [job.wanted_w[job.node.index(node)] for node in range(job.nodes)]
        self._saving, self._most_w = [1.0] * job.nodes, [inf] * job.nodes
        self._cards_w, self._speeds = self._wanted_w.copy(), [1.0] * job.nodes
        self._lap = self._next = 0
        self._changed_s, self._sum_w, self._work_s = array("d", [0.0]), array("d", [sum(self._cards_w)]), array("d", [0.0])

    @property
    def watts(self) -> Values:
        """Of each node, now."""
        return self._base_w + np.array(self._cards_w)

    @property
    def due_s(self) -> float:
        """When the recording goes on."""
        return self._lap * self._job.period_s + self._job.time_s[self._next]

    def go_on(self) -> None:
        """With what is due."""
        now_s, node = self.due_s, self._job.node[self._next]
        self._wanted_w[node] = self._job.wanted_w[self._next]
        self._next += 1
        if self._next == len(self._job.time_s):
            self._lap, self._next = self._lap + 1, 0
        self._draw(now_s, node)

    def hold(self, now_s: float, node: int, saving: float, most_w: float = inf) -> None:
        """`saving`: what its clock leaves of the power above idle; `most_w`: above idle, at most."""
        self._saving[node], self._most_w[node] = saving, most_w
        self._draw(now_s, node)

    def _draw(self, now_s: float, node: int) -> None:
        work_s = self._work_s[-1] + (now_s - self._changed_s[-1]) * min(self._speeds)
        wanted_w, before_w = self._wanted_w[node], self._cards_w[node]
        above_w = wanted_w - self._idle_w  # a node that waits may draw less than an idle server with its model loaded
        cards_w = min(wanted_w, self._idle_w + min(self._saving[node] * above_w, self._most_w[node])) if above_w > 0 else wanted_w
        self._cards_w[node] = cards_w
        self._speeds[node] = 1.0 if cards_w >= wanted_w else 1.0 / float(np.interp(cards_w / wanted_w, LEFT, TIME))
        self._changed_s.append(now_s)
        self._sum_w.append(self._sum_w[-1] + cards_w - before_w)
        self._work_s.append(work_s)
        self._step_s.append(now_s)
        self._step_w.append(cards_w - before_w)

    def lost_ratio(self, begin_s: float, end_s: float) -> float:
        """Share of the job's work that was not done, in a time that has passed."""
        until_s = max(end_s, self._changed_s[-1])
        work_s = self._work_s[-1] + (until_s - self._changed_s[-1]) * min(self._speeds)
        done_s = np.interp([begin_s, end_s], [*self._changed_s, until_s], [*self._work_s, work_s])
        return 1.0 - float(done_s[1] - done_s[0]) / (end_s - begin_s)

    def sums_w(self, times_s: Values) -> Values:
        """What all its nodes' cards drew together."""
        return np.array(self._sum_w)[np.searchsorted(np.array(self._changed_s), times_s, side="right") - 1]
