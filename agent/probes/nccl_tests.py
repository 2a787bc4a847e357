"""NVIDIA's nccl-tests: one sum over all cards of the node, of a size at which the bus is the limit, with every result checked."""

import re
from typing import Final

from gpuwarden.agent.probe_config import ProbeConfig
from gpuwarden.agent.probed import Figure, Outcome, Result
from gpuwarden.agent.probes.kind import Ended, program, unread

SIZE: Final = "256M"
_WRONG: Final = re.compile(r"^# Out of bounds values : (\d+)", re.MULTILINE)
_BUS: Final = re.compile(r"^# Avg bus bandwidth +: ([0-9.]+)", re.MULTILINE)


def argv(probe: ProbeConfig) -> tuple[str, ...]:
    return (program(probe, "all_reduce_perf"), "-b", SIZE, "-e", SIZE, "-g", str(probe.gpus), "-c", "1")


def read(probe: ProbeConfig, ended: Ended) -> Result:
    wrong, bus = _WRONG.search(ended.output), _BUS.search(ended.output)
    if wrong is None or bus is None:
        return unread(ended)
    bus_gb_s = float(bus[1])
    figures = (Figure("bus bandwidth", bus_gb_s, "GB/s", probe.least or None), Figure("wrong values", float(wrong[1]), ""))
    if int(wrong[1]):
        return Result(Outcome.FAILED, f"{wrong[1]} values of a sum over {probe.gpus} cards are wrong", figures)
    if bus_gb_s < probe.least:
        return Result(Outcome.FAILED, f"a sum over {probe.gpus} cards goes at {bus_gb_s:g} GB/s on the bus, should at {probe.least:g} or more", figures, slow=True)
    return Result(Outcome.PASSED, f"a sum over {probe.gpus} cards is right, at {bus_gb_s:g} GB/s on the bus", figures)
