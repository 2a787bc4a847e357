"""A program of the operator's own: its exit status says."""

from typing import Final

from gpuwarden.agent.probe_config import ProbeConfig
from gpuwarden.agent.probed import Outcome, Result
from gpuwarden.agent.probes.kind import Ended, how, last_line, program, unread

NOT_TESTED: Final = 77  # as test programs of automake say that they could not run
_NOT_BEGUN: Final = (126, 127)  # as a shell says that a program cannot be run, or is not there


def argv(probe: ProbeConfig) -> tuple[str, ...]:
    return (program(probe, ""), *probe.argv[1:])


def read(probe: ProbeConfig, ended: Ended) -> Result:
    """One that dies of a signal may be broken itself: that says nothing of the node."""
    if ended.status < 0 or ended.status in (NOT_TESTED, *_NOT_BEGUN):
        return unread(ended)
    if ended.status == 0:
        return Result(Outcome.PASSED, last_line(ended) or "it said nothing")
    return Result(Outcome.FAILED, f"{how(ended)}: {last_line(ended) or 'it said nothing'}")
