"""How long a server takes for a request and what it draws meanwhile: BLOOM-176B on eight A100s.

Medians of Splitwise's measurements (tensor parallel over 8, `splitwise_perf_model.csv`). Powers are shares of a card's TDP.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

PROMPT_TOKENS: Final = (128, 256, 512, 1024, 2048, 4096, 8192)
PROMPT_S: Final = (0.0797, 0.0992, 0.1738, 0.2892, 0.5404, 1.3482, 3.5932)
PROMPT_POWER: Final = (0.691, 0.723, 0.876, 1.007, 1.021, 1.016, 1.026)
BATCHES: Final = (1, 2, 4, 8, 16)
TOKEN_S: Final = (0.0488, 0.0500, 0.0510, 0.0530, 0.0573)
TOKEN_POWER: Final = (0.635, 0.630, 0.632, 0.643, 0.656)  # at a context of 512
CONTEXT_POWER: Final = (0.637, 0.636, 0.635, 0.624, 0.614, 0.581, 0.544)  # by PROMPT_TOKENS, one request: the longer, the more it waits for memory


@dataclass(frozen=True, slots=True)
class Server:
    """A DGX A100. `slots`: requests that its memory holds at once (BLOOM leaves 288 GB for keys and values of 4 MB a token)."""

    gpus: int = 8
    tdp_w: float = 400.0
    idle_ratio: float = 0.20  # of TDP, with the model loaded: how low POLCA saw a card fall between iterations (Flan-T5)
    base_w: float = 1650.0  # besides the cards; an HGX H100 node has at least 1.7 kW
    rated_w: float = 5180.0  # what a row is filled by: the most that was profiled (a prompt, 4933 W) and the 5 % by which sensors err; the nameplate is 6.5 kW
    slots: int = 16


def prompt_s(tokens: Values) -> Values:
    """At full clock."""
    return _between(tokens, PROMPT_TOKENS, PROMPT_S)


def prompt_power(tokens: Values) -> Values:
    return _between(tokens, PROMPT_TOKENS, PROMPT_POWER)


def token_s(batch: Values) -> Values:
    """Of every request of the batch, at full clock."""
    return _between(batch, BATCHES, TOKEN_S)


def token_power(batch: Values) -> Values:
    return _between(batch, BATCHES, TOKEN_POWER)


def context(tokens: Values) -> Values:
    """What a context of so many tokens makes of `token_power`."""
    return _between(tokens, PROMPT_TOKENS, CONTEXT_POWER) / CONTEXT_POWER[PROMPT_TOKENS.index(512)]


def _between(at: Values, known: tuple[int, ...], values: tuple[float, ...]) -> Values:
    found: Values = np.interp(at, known, values)
    return found
