"""How a command is told where the brokers are: by `--bootstrap`, or by a file with a `[bus]` table where they ask who one is."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from gpuwarden.core.bus import BusConfig
from gpuwarden.core.config import load, option, parse


@dataclass(frozen=True, slots=True)
class BusFile:
    """A file with one table."""

    bus: BusConfig = option("how to reach Kafka")


def add_brokers(verb: argparse.ArgumentParser, file: str = "a file with a [bus] table only, for brokers that ask who one is") -> None:
    """The two arguments, of which one must be there. `file` says what is in the second."""
    way = verb.add_mutually_exclusive_group(required=True)
    way.add_argument("--bootstrap", metavar="HOST:PORT,..", help="Kafka's brokers; one is enough to find all")
    way.add_argument("--config", type=Path, metavar="FILE", help=file)


def brokers(args: argparse.Namespace) -> BusConfig:
    """ConfigError if they cannot be."""
    if args.config is not None:
        return load(args.config, BusFile).bus
    return parse({"bootstrap": args.bootstrap.split(",")}, BusConfig, "--bootstrap")
