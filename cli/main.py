"""The `gpuwarden` command: finds the verb, runs it, and says errors as a person would want to read them."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from gpuwarden.core.config import ConfigError
from gpuwarden.core.version import VERSION

# Every verb is a module here with `add(subparsers)` and `run(args)`; what is heavy is imported in `run`.
VERBS = (
    "up", "agent", "limiter", "detector", "controller", "status", "explain", "operator", "isolation", "floor", "alerts", "doctor", "config", "topics", "record", "train",
    "models", "jobs", "replay", "sim", "whatif", "profile", "diagnose", "torchrun", "checkpoint", "report",
)


def parser(first: str = "") -> argparse.ArgumentParser:
    """The command line: whole, or only the module that `first` names, since a daemon carries for ever what it has loaded."""
    top = argparse.ArgumentParser(prog="gpuwarden", description="Watches a GPU cluster, and acts. Start with: gpuwarden up")
    top.add_argument("--version", action="version", version=f"gpuwarden {VERSION}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name in (first,) if first in VERBS else VERBS:
        import_module(f"gpuwarden.cli.{name}").add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: the answer is no; 2: the command or a file it names is wrong."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser(words[0] if words else "").parse_args(words)
    try:
        return int(args.run(args))
    except ConfigError as why:
        print(f"gpuwarden: {why}", file=sys.stderr)
    except ModuleNotFoundError as why:
        if (why.name or "").startswith("gpuwarden"):
            raise
        extra = args.verb if args.verb in ("up", "sim", "whatif") else "detector,controller"
        print(f"gpuwarden: {why.name} is not installed; pip install 'gpuwarden[{extra}]'", file=sys.stderr)
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        sys.stderr.close()
        return 1
    return 2
