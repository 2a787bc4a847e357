"""One minute of many nodes against what was learned of them: a pure function of the minute, and of what stood before it.

Here is where another member, such as what the other nodes of a job show, would add its squares to `parts`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.conditional import LEAST_RESIDUAL
from gpuwarden.detector.health.learned import Block, Learned, Places, repaired
from gpuwarden.detector.health.scale import CLIP
from gpuwarden.detector.health.score import parts

MOST_REPAIRS: Final = 16  # a minute: each inverts a matrix, some 0.1 s for 200 features that vary
KEPT_REPAIRS: Final = 256  # nodes
_SHARE: Final = 0.25  # of all nodes: for fewer their weights are copied, for more all are gone through

Repair = tuple[bytes, Block, Block]  # what was gone, and the weights and spread without it


@dataclass(frozen=True, slots=True)
class Minute:
    """(rows, K) of values; `parts` is what each feature carries, NaN where missing; `spread` deviations are one of a residual."""

    values: Block
    parts: Block
    residuals: Block
    deviations: Block
    spread: Block
    unweighed: NDArray[np.bool_]  # (rows,): they lack what their weights lean on, and others came first


class Judge:
    """Scores what `learned` knows. Holds weights that do without what a node has ceased to tell, KEPT_REPAIRS at most."""

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        self._repairs: dict[int, Repair] = {}

    def minute(self, rows: Places, values: Block, before: Block) -> Minute:
        """Of `rows` of the model: values (rows, K) and the two pasts (rows, 2, K); NaN is missing."""
        learned = self.learned
        deviations, earlier = (self._deviations(rows, of) for of in (values[:, None], before))
        earlier = np.where(np.isnan(deviations), np.float32(np.nan), earlier)
        vary = learned.varying
        seen = np.concatenate((deviations[:, 0, vary], earlier[:, 0, vary], earlier[:, 1, vary]), 1)
        known = np.tile(~np.isnan(learned.mean[rows][:, vary]), 3)
        residuals = (deviations[:, 0] / np.float32(LEAST_RESIDUAL)).astype(np.float32)
        spread = np.full_like(residuals, LEAST_RESIDUAL)
        residuals[:, vary], spread[:, vary] = self._weighed(rows, np.nan_to_num(seen)), learned.spread[rows]
        unweighed = self._repair(rows, seen, np.isnan(seen) & known, residuals, spread)
        now = deviations[:, 0]
        residuals[np.isnan(now)] = np.nan
        return Minute(values, parts(now, residuals), residuals, now, spread, unweighed)

    def _deviations(self, rows: Places, values: Block) -> Block:
        """Of (rows, any, K)."""
        scaled = (values - self.learned.mean[rows, None]) / self.learned.deviation[rows, None]
        clipped: Block = np.clip(scaled, -CLIP, CLIP)
        return clipped

    def _weighed(self, rows: Places, seen: Block) -> Block:
        """(rows, V) residuals of (rows, 3V), each with its node's own weights."""
        weights = self.learned.weights
        if len(rows) < _SHARE * len(weights):
            few: Block = np.matmul(seen[:, None], weights[rows])[:, 0]
            return few
        everyone = np.zeros((len(weights), seen.shape[1]), np.float32)
        everyone[rows] = seen
        all_of_them: Block = np.matmul(everyone[:, None], weights)[rows, 0]
        return all_of_them

    def _repair(self, rows: Places, seen: Block, gone: NDArray[np.bool_], residuals: Block, spread: Block) -> NDArray[np.bool_]:
        """Weighs anew, in place, those that lack something; says which had to wait."""
        waits, left = np.zeros(len(rows), np.bool_), MOST_REPAIRS
        for i in np.flatnonzero(gone.any(1) & ~gone.all(1)).tolist():
            row, pattern = int(rows[i]), np.packbits(gone[i]).tobytes()
            kept = self._repairs.get(row)
            if kept is None or kept[0] != pattern:
                if not left:
                    waits[i] = True
                    continue
                left -= 1
                kept = self._keep(row, (pattern, *repaired(self.learned, row, gone[i])))
            residuals[i, self.learned.varying] = np.nan_to_num(seen[i]) @ kept[1]
            spread[i, self.learned.varying] = kept[2]
        return waits

    def _keep(self, row: int, repair: Repair) -> Repair:
        self._repairs.pop(row, None)
        if len(self._repairs) >= KEPT_REPAIRS:
            del self._repairs[next(iter(self._repairs))]
        self._repairs[row] = repair
        return repair
