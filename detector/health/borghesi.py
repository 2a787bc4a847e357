"""The autoencoder of Borghesi et al., Anomaly Detection using Autoencoders in High Performance Computing Systems (IAAI 2019, arXiv 1811.05269).

One hidden layer of ten times the metrics, made sparse by an L1 penalty on its activity; trained on history that is taken as healthy;
the score is the largest absolute error of any metric. Width, penalty, loss and score are the paper's; epochs and batch its published code's.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from gpuwarden.detector.health.scale import Array

WIDER: Final = 10
PENALTY: Final = 1e-5
EPOCHS: Final = 2
BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Borghesi:
    """One node's. `low` and `size` (metrics,) bring a metric's history to 0 to 1; missing values are taken as 0, as in the paper."""

    network: nn.Sequential
    low: Array
    size: Array

    def score(self, values: Array) -> Array:
        """(rows,) of values (rows, metrics)."""
        rows = _scaled(values, self.low, self.size)
        with torch.inference_mode():
            worst: Array = (self.network(rows) - rows).abs().amax(1).numpy().astype(np.float64)
        return worst


def borghesi(history: Array, seed: int) -> Borghesi:
    """Trained on history (rows, metrics), of which each metric must be there at least once."""
    low, high = np.nanmin(history, 0), np.nanmax(history, 0)
    size = np.where(high > low, high - low, 1.0)
    rows = _scaled(history, low, size)
    chance = torch.Generator().manual_seed(seed)
    metrics = rows.shape[1]
    wide, back = nn.Linear(metrics, WIDER * metrics), nn.Linear(WIDER * metrics, metrics)
    for layer in (wide, back):
        nn.init.xavier_uniform_(layer.weight, generator=chance)
        nn.init.zeros_(layer.bias)
    network = nn.Sequential(wide, nn.ReLU(), back)
    adam = torch.optim.Adam(network.parameters())
    for _ in range(EPOCHS):
        order = torch.randperm(len(rows), generator=chance)
        for first in range(0, len(rows), BATCH):
            _step(network, adam, rows[order[first : first + BATCH]])
    return Borghesi(network, low, size)


def _step(network: nn.Sequential, adam: torch.optim.Adam, rows: torch.Tensor) -> None:
    hidden = network[1](network[0](rows))
    loss = (network[2](hidden) - rows).abs().mean() + PENALTY * hidden.abs().sum() / len(rows)
    adam.zero_grad()
    loss.backward()
    adam.step()


def _scaled(values: Array, low: Array, size: Array) -> torch.Tensor:
    return torch.from_numpy(np.nan_to_num((values - low) / size).astype(np.float32))
