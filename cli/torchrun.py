"""`gpuwarden torchrun`: torchrun, whose workers tell this node's agent how far they are. No change to the training script."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gpuwarden.core.config import ConfigError

SOCKET: Final = Path("/run/gpuwarden-agent/ranks.sock")
HOOK: Final = Path(__file__).parents[1] / "agent" / "rank_hook"
# Of the Flight Recorder, entries: reading all of them takes 30 us each, every few seconds.
BUFFER: Final = "256"


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verb = verbs.add_parser("torchrun", help="torchrun, whose ranks tell this node's agent how far they are; for other launchers: gpuwarden agent env")
    verb.add_argument("--socket", type=Path, default=SOCKET, metavar="PATH", help=f"the agent's rank_socket, default {SOCKET}")
    verb.add_argument("words", nargs=argparse.REMAINDER, metavar="-- ...", help="what torchrun is told")
    verb.set_defaults(run=run, verb="torchrun")


def run(args: argparse.Namespace) -> int:
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    try:
        os.execvpe("torchrun", ["torchrun", *words], {**os.environ, **environment(args.socket, os.environ)})
    except OSError as why:
        raise ConfigError(f"torchrun: {why.strerror}; it comes with torch, whose environment has to be active") from None


def environment(socket: Path, before: Mapping[str, str]) -> dict[str, str]:
    """What a job needs beside what it has, so that its ranks are heard."""
    path = [str(HOOK), *filter(None, [before.get("PYTHONPATH")])]
    buffer = {} if {"TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE"} & before.keys() else {"TORCH_FR_BUFFER_SIZE": BUFFER}
    return {"GPUWARDEN_RANK_SOCKET": str(socket), "PYTHONPATH": os.pathsep.join(path), **buffer}
