"""`gpuwarden config`: checks a file before a daemon meets it, tells every key, makes keys, certificates and the page's users."""

import argparse
import json
import os
import secrets
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from gpuwarden.cli import certs, web_user
from gpuwarden.core.config import keys, load
from gpuwarden.core.seal import KEY_BYTES

# Daemon to its config type; a daemon's module is imported only when it is asked for.
CONFIGS = {
    "agent": ("gpuwarden.agent.config", "AgentConfig"),
    "limiter": ("gpuwarden.agent.limiter.config", "LimiterConfig"),
    "detector": ("gpuwarden.detector.config", "DetectorConfig"),
    "controller": ("gpuwarden.controller.config", "ControllerConfig"),
    "recorder": ("gpuwarden.detector.history_config", "RecorderConfig"),
}


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    config = verbs.add_parser("config", help="check a configuration, list its keys, make keys, certificates and the page's users")
    steps = config.add_subparsers(metavar="STEP", required=True)
    check = steps.add_parser("check", help="say everything that is wrong with a file")
    check.add_argument("daemon", choices=CONFIGS)
    check.add_argument("file", type=Path)
    check.set_defaults(run=_check)
    options = steps.add_parser("options", help="every key with its type, default and meaning, as Markdown")
    options.add_argument("daemon", choices=CONFIGS, nargs="?", help="default: all")
    options.add_argument("--json", action="store_true")
    options.set_defaults(run=_options)
    made = steps.add_parser("node-keys", help="make the key of each node that has none yet")
    made.add_argument("nodes", nargs="+", help="node names; `gpu[01-64]` is a range")
    made.add_argument("--out", type=Path, required=True, help="folder; a node's key is NODE.key")
    made.set_defaults(run=_node_keys)
    certs.add(steps)
    web_user.add(steps)
    config.set_defaults(verb="config")


def config_of(daemon: str) -> type[Any]:
    """Its config type; ModuleNotFoundError where the extra that it needs is not installed."""
    module, name = CONFIGS[daemon]
    found: type[Any] = getattr(import_module(module), name)
    return found


def _check(args: argparse.Namespace) -> int:
    config = load(args.file, config_of(args.daemon))
    print(f"{args.file}: is good for the {args.daemon}")
    if args.daemon == "controller":
        from gpuwarden.cli.limits_text import limits_lines

        print("\n".join(limits_lines(config)))
        print("what undoes limits on a node (another setter, a Slurm prolog, --gpu-freq, persistence off) is looked for there by `gpuwarden doctor`")
    return 0


def _options(args: argparse.Namespace) -> int:
    daemons = [args.daemon] if args.daemon else list(CONFIGS)
    if args.json:
        names = ("key", "type", "default", "meaning")
        print(json.dumps({d: [dict(zip(names, k, strict=True)) for k in keys(config_of(d))] for d in daemons}, indent=1))
    else:
        title = "# Configuration\n\nEvery key of every daemon, as `gpuwarden config options` prints it.\n\n"
        print(title + "\n\n".join("\n".join(markdown(daemon)) for daemon in daemons))
    return 0


def markdown(daemon: str) -> Iterator[str]:
    """One daemon's keys as a table."""
    yield f"## {daemon}\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key, kind, default, doc in keys(config_of(daemon)):
        yield f"| `{key}` | {kind} | `{default}` | {doc} |"


def _node_keys(args: argparse.Namespace) -> int:
    from gpuwarden.controller.power.hostlist import BadHostlist, expand

    try:
        nodes = expand(args.nodes)
    except BadHostlist as why:
        print(f"gpuwarden: nodes: {why}")
        return 2
    args.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = [node for node in nodes if _make_key(args.out / f"{node}.key")]
    print(f"{len(made)} keys made in {args.out}, {len(nodes) - len(made)} were there already")
    print("The controller reads all of them; each node gets its own, readable by root only.")
    return 0


def _make_key(path: Path) -> bool:
    """False if there is one already: a key is never written over."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(secrets.token_hex(KEY_BYTES) + "\n")
    return True
