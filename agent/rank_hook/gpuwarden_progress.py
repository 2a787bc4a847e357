"""For training scripts: `tell(step, loss, grad_norm)` at each step, `tell(step, phase="checkpoint")` or "evaluation" where one begins. It waits for nobody."""

import math
import os
import sys
import time
from typing import Any, Optional

_LEAST_S = 0.2  # between two words; the agent takes no more than twenty a second
_told: dict[str, Any] = {"at_s": 0.0, "state": None, "rank": None}


def tell(step: int, loss: Optional[float] = None, grad_norm: Optional[float] = None, phase: str = "") -> None:  # noqa: UP045 - a job's Python may be older
    hook, now_s = sys.modules.get("gpuwarden_rank"), time.monotonic()
    numbers = {name: float(value) for name, value in (("loss", loss), ("grad_norm", grad_norm)) if value is not None}
    state = phase, all(map(math.isfinite, numbers.values()))
    if hook is not None and (state != _told["state"] or now_s - _told["at_s"] >= _LEAST_S):
        _told.update(at_s=now_s, state=state, rank=_told["rank"] or hook.speaker(os.environ))
        _told["rank"].tell({"progress": {"step": int(step), "phase": phase, **numbers}})
