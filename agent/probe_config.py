"""What an operator says of the tests of a node. A controller can name one of them, and nothing else."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpuwarden.core.config import option

LONGEST_S: Final = 1500.0  # dcgmi diag -r 3 takes 15 min; the controller waits for 30
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OURS: Final = ("matmul", "memory")


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """A test of this node that the controller may ask for, by its name. It runs as a child of the agent, without privileges and without a shell."""

    name: str = option("by which the controller's group asks for it")
    kind: str = option("matmul, memory, dcgmi, nccl-tests or command")
    deadline_s: float = option("it is ended after so long, which counts as not tested: far more than a healthy node takes", default=300.0)
    harmless: bool = option("it may run while processes of jobs are on the cards; else it waits until none is", default=False)
    needs_w: float = option("of one GPU: it begins once the limits of all are this high; 0: at any. Slowness under less is no failure", default=0.0)
    gpus: int = option("matmul, memory: so many cards take part, with fewer it fails; 0: on the CPU. nccl-tests: so many", default=0)
    least: float = option(
        "with less it fails: TFLOP/s of the slowest card (matmul), its GB/s (memory), GB/s on the bus (nccl-tests); 0: only wrong results are a failure", default=0.0
    )
    seconds: float = option("matmul, memory: each card works for so long", default=10.0)
    memory_gib: float = option("memory: so much of each card, or of the host, is written and read back", default=1.0)
    level: int = option("dcgmi: as in `dcgmi diag -r`; 3 takes 15 min", default=1)
    argv: tuple[str, ...] = option(
        "command: the program's whole path, then its arguments; 0 is passed, 77 not tested, anything else failed. dcgmi, nccl-tests: the program, if not found by name",
        default=(),
    )

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        from gpuwarden.agent.probes import PROBES  # they read this config

        if not _NAME.fullmatch(self.name):
            yield f"name: is {self.name!r}, should be 1 to 64 letters, digits, dots, dashes or underscores"
        if self.kind not in PROBES:
            yield f"kind: is {self.kind!r}, should be one of {', '.join(PROBES)}"
        for key, value, least, most in (
            ("deadline_s", self.deadline_s, 1, LONGEST_S), ("needs_w", self.needs_w, 0, 10_000), ("gpus", self.gpus, 0, 64), ("least", self.least, 0, 1e9),
            ("seconds", self.seconds, 0.1, LONGEST_S), ("memory_gib", self.memory_gib, 0.001, 1024), ("level", self.level, 1, 4),
        ):
            if not (math.isfinite(value) and least <= value <= most):
                yield f"{key}: is {value:g}, should be {least:g} to {most:,.0f}"
        yield from self._of_kind()

    def _of_kind(self) -> Iterator[str]:
        if self.kind in _OURS and self.argv:
            yield f"argv: is of no use with kind {self.kind}"
        if self.kind in _OURS and self.seconds * max(1, self.gpus) >= self.deadline_s:
            yield f"deadline_s: is {self.deadline_s:g}, should be more than {self.seconds * max(1, self.gpus):g}, for which the cards work"
        if self.kind == "command" and not self.argv:
            yield "argv: is missing: the program and its arguments"
        if self.argv and not self.argv[0].startswith("/"):
            yield f"argv: begins with {self.argv[0]!r}, should begin with a program's whole path"
        if any("\0" in word for word in self.argv):
            yield "argv: has a NUL in it"
        if self.kind in ("dcgmi", "nccl-tests") and len(self.argv) > 1:
            yield f"argv: has arguments, which {self.kind} chooses itself"
        if self.kind == "nccl-tests" and self.gpus < 2:
            yield f"gpus: is {self.gpus}, should be 2 or more with kind nccl-tests"
