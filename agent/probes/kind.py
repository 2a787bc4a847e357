"""What a kind of test is: a command line, and how what it leaves is read."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpuwarden.agent.probe_config import ProbeConfig
from gpuwarden.agent.probed import Result, impossible
from gpuwarden.agent.reading import Unsupported

SAID_CHARS = 300


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has ended by itself. `status` as its parent sees it: negative is a signal. `cut`: of what it printed only the end is there."""

    status: int
    output: str
    errors: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """`argv` raises Unsupported where this node has no such program."""

    argv: Callable[[ProbeConfig], tuple[str, ...]]
    read: Callable[[ProbeConfig, Ended], Result]


def program(probe: ProbeConfig, name: str) -> str:
    """As configured, or as PATH has it."""
    wanted = probe.argv[0] if probe.argv else name
    found = shutil.which(wanted)
    if found is None:
        raise Unsupported(f"{wanted} is not there" if Path(wanted).is_absolute() else f"{wanted} is in no folder of PATH")
    return found


def unread(ended: Ended) -> Result:
    """What left nothing that can be read."""
    return impossible(f"{how(ended)}: {last_line(ended) or 'it said nothing'}")


def how(ended: Ended) -> str:
    return f"it was killed by signal {-ended.status}" if ended.status < 0 else f"it ended with status {ended.status}"


def last_line(ended: Ended) -> str:
    """Of its errors, else of its output: printable, and short."""
    for text in (ended.errors, ended.output):
        if lines := [line for line in text.splitlines() if line.strip()]:
            return printable(lines[-1])
    return ""


def printable(text: str) -> str:
    """What a program said may go into a log and a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text.strip())[:SAID_CHARS]
