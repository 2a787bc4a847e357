"""`gpuwarden up` on this machine's own GPUs: watches them, and caps them only by the operator's word."""

import argparse
import math
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.limiter.cards import Cards
from gpuwarden.agent.reading import Unsupported
from gpuwarden.cli.up_daemons import Daemons, Here
from gpuwarden.cli.up_tally import Tally, ledger_kinds
from gpuwarden.cli.up_told import figures, found
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.remembered import MODES
from gpuwarden.core.config import ConfigError, parse
from gpuwarden.core.service import stop_on_signals

if TYPE_CHECKING:
    from gpuwarden.proto.control_pb2 import WatchResponse

    Publish = Callable[[WatchResponse], None]

LOOK_S: Final = 0.25
FLOOR_W, DEFAULT_W = 200.0, 700.0  # where no card tells its range
DOMAIN: Final = "this-node"


def run(args: argparse.Namespace, gpus: int, state: Path, publish: "Publish") -> dict[str, Any]:
    """The figures. Until the duration is over, somebody asks for the end, or a daemon fails: then `failures` tells."""
    if args.speed is not None:
        raise ConfigError("--speed: real GPUs go at their own; leave it out")
    stop, tally, mode = stop_on_signals(), _tally(args.record), args.mode or "observe"
    here = _here(gpus, state, args.events)
    config = _config(here, mode, args.budget_w, args.host_w)
    print(found(gpus, mode, here.why_not), file=sys.stderr)
    after_id, start_s = _begin_ledger(config), time.monotonic()
    with Daemons(here, config, tally.follow, stop) as daemons:
        _watch(daemons, args.duration, stop, publish)
        duration_s = time.monotonic() - start_s
    with closing(Ledger(config.ledger_file)) as ledger:
        kinds, (left,) = ledger_kinds(ledger, after_id), [one for one in ledger.remembered() if one.domain == DOMAIN]
    mode = next(name for name, mode in MODES.items() if mode == left.mode)
    told = {"mode": mode, "budget_w": round(left.budget_w, 1), "gpus": gpus, "duration_s": round(duration_s, 1)}
    told |= figures(tally, daemons.detector, kinds)
    limits_w = _limits_w() if mode == "auto" and daemons.driver_answered else []
    return {**told, "not_capped_because": here.why_not, "limits_left_w": limits_w, "failures": daemons.failures()}


def _tally(folder: Path | None) -> Tally:
    if folder is None:
        return Tally(None)
    from gpuwarden.detector.history import Recorder  # who keeps no history needs no pyarrow
    from gpuwarden.detector.history_parquet import Parquet

    folder.mkdir(parents=True, exist_ok=True)
    return Tally(Recorder(Parquet(folder)))


def _here(gpus: int, state: Path, events: Path | None) -> Here:
    node = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).strip(".-") or DOMAIN
    try:
        return Here(node, gpus, Cards(), "", state, events)
    except (Unsupported, Hung, ChildFailed) as why:
        return Here(node, gpus, None, str(why), state, events)


def _config(here: Here, mode: str, budget_w: float | None, host_w: float) -> ControllerConfig:
    """One domain with this node alone. Without a budget it carries what the node draws at worst: then there is nothing to cap."""
    cards = here.cards.cards if here.cards is not None else ()
    floor_w = max((card.min_w for card in cards), default=FLOOR_W)
    default_w = max((card.default_w for card in cards), default=DEFAULT_W)
    worst_w = NodeClass(DOMAIN, (here.node,), here.gpus, host_w).draw_w(here.gpus * default_w)
    made = {
        "name": DOMAIN, "nodes": [here.node], "gpus": here.gpus, "base_w": host_w, "floor_w": floor_w, "default_w": default_w,
    }
    domain = {"name": DOMAIN, "rating_w": budget_w or worst_w, "mode": mode, "classes": [made], "dead_nodes": 0}
    document = {
        "ledger_file": str(here.state / "ledger.sqlite"), "keys_dir": str(_make_key(here)), "listen": "127.0.0.1:0",
        "domains": [domain],
    }
    return parse(document, ControllerConfig, "--budget-w, --host-w")


def _make_key(here: Here) -> Path:
    """The folder. A key that is there stays: `gpuwarden replay` needs it for the logs of the runs before."""
    folder = here.state / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    key = folder / f"{here.node}.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32), encoding="ascii")
    return folder


def _begin_ledger(config: ControllerConfig) -> int:
    """The newest line's id. What the command line says holds: an `auto` of a run before this one is not taken up again."""
    (domain,) = config.domains
    with closing(Ledger(config.ledger_file)) as ledger:
        ledger.remember_domain(domain.name, domain.rating_w, MODES[domain.mode])
        newest = ledger.newest(1)
        return newest[0].id if newest else 0


def _watch(daemons: Daemons, duration_s: float | None, stop: threading.Event, publish: "Publish") -> None:
    end_s = time.monotonic() + (duration_s or float("inf"))
    while time.monotonic() < end_s and not stop.wait(LOOK_S) and not daemons.failures():
        if (snapshot := daemons.shell.board.newest()) is not None:
            publish(snapshot)


def _limits_w() -> list[float]:
    """What each card's limit is now; none if the driver does not tell."""
    try:
        with closing(Cards()) as cards:
            limits_w = [card.requested_w for card in cards.limits()]
    except (Unsupported, Hung, ChildFailed):
        return []
    return limits_w if all(map(math.isfinite, limits_w)) else []
