"""The units of the project, started as they are by a supervisor, on paths of a test's own."""

import sys
from pathlib import Path

from fakes.nvml.steer import FakeNode
from services.port import free_port
from services.supervisor import Supervised

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
NOBODY = "127.0.0.1:1"
FLOOR_W = 200.0


def supervised(name: str, folder: Path, gpus: FakeNode | None = None, config: str = "") -> Supervised:
    """The daemon of gpuwarden-NAME.service; its configuration, state and log lie in `folder`."""
    (folder / f"{name}.toml").write_text(config)
    there = {
        "/opt/gpuwarden/bin/gpuwarden": f"{sys.executable} -m gpuwarden.cli",
        "/etc/gpuwarden/": f"{folder}/",
        "/var/lib/gpuwarden-recorder": f"{folder}/recorded",
        "/var/lib/gpuwarden/": f"{folder}/",
        "/run/gpuwarden/": f"{folder}/",
    }
    env = gpus.env() if gpus is not None else {}
    return Supervised(UNITS / f"gpuwarden-{name}.service", there, env, folder / f"{name}.log")


def limiter_config(folder: Path, mode: str) -> str:
    """A limiter that remembers `mode` of its last run."""
    (folder / "limiter.json").write_text(f'{{"epoch": 3, "mode": "MODE_{mode}"}}')
    key = folder / "node.key"
    key.touch(0o600)
    key.write_text("00" * 32)
    return f'node = "n1"\nkey_file = "{key}"\nstate_file = "{folder}/limiter.json"\nsocket = "{folder}/limiter.sock"\nfloor_w = {FLOOR_W}\n'


def agent_config(folder: Path) -> str:
    """Neither controller nor limiter nor Kafka is there."""
    return f'node = "n1"\ncontroller = "{NOBODY}"\nlimiter_socket = "{folder}/limiter.sock"\n[bus]\nbootstrap = ["{NOBODY}"]\n'


def controller_config(folder: Path) -> str:
    """One node, which never comes, and no Kafka."""
    keys = folder / "keys"
    keys.mkdir()
    (keys / "n1.key").touch(0o600)
    (keys / "n1.key").write_text("00" * 32)
    return (
        f'listen = "127.0.0.1:{free_port()}"\nledger_file = "{folder}/ledger.sqlite"\nkeys_dir = "{keys}"\n'
        f'[bus]\nbootstrap = ["{NOBODY}"]\n[[domains]]\nname = "row"\nrating_w = 9000\nbudget_w = 8000\n'
        '[[domains.classes]]\nname = "c"\nnodes = ["n1"]\ngpus = 8\nbase_w = 1000.0\nfloor_w = 200.0\ndefault_w = 700.0\n'
    )
