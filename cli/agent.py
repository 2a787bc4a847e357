"""`gpuwarden agent`: collects on this node, sends telemetry, relays between limiter and controller."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gpuwarden.agent.config import AgentConfig

CONFIG: Final = Path("/etc/gpuwarden/agent.toml")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    agent = verbs.add_parser("agent", help="collect and relay on this node; --once shows what there is to collect")
    agent.add_argument("what", nargs="?", choices=("env",), help="env: print the environment that a job needs so that this agent hears of it")
    agent.add_argument("--config", type=Path, metavar="FILE", help="default: /etc/gpuwarden/agent.toml; with --once, none is needed")
    agent.add_argument("--events", type=Path, metavar="DIR", help="write every event to a log that `replay` reads")
    agent.add_argument("--once", action="store_true", help="show what this node has and what would be sent, and send nothing")
    agent.add_argument("--json", action="store_true", help="with --once: the result as JSON")
    agent.set_defaults(run=run, verb="agent")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.agent.config import AgentConfig
    from gpuwarden.core.config import load

    if args.what == "env":
        return _env(load(args.config or CONFIG, AgentConfig))
    if args.once:
        return _once(load(args.config, AgentConfig) if args.config else AgentConfig(), args.json)
    from gpuwarden.agent.main import run as run_agent
    from gpuwarden.core.reload import load_watched

    return run_agent(load_watched(args.config or CONFIG, AgentConfig), events_dir=args.events)


def _env(config: "AgentConfig") -> int:
    import os

    from gpuwarden.cli.job_environment import exports
    from gpuwarden.core.config import ConfigError

    if config.rank_socket is None and config.inspector_dir is None and config.ras is None:
        raise ConfigError("rank_socket: is not set in the agent's configuration, nor inspector_dir nor ras, so no job can tell it anything")
    print("\n".join(exports(config, os.environ)))
    return 0


def _once(config: "AgentConfig", as_json: bool) -> int:
    from gpuwarden.agent import once

    seen = once.look(config)
    print(json.dumps(once.as_json(seen), indent=1) if as_json else "\n".join(once.as_text(seen)))
    return 0
