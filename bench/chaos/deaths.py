"""Death and delay: what is done to a row, and how long it lasts. Each leaves everything running again, or waits until it is."""

import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from chaos.row import Row, start_controller

Fault = Callable[[Row], None]
KILLS, KILLS_APART_S = 5, 2.2


def controller_killed(row: Row) -> None:
    """And kept down for longer than a lease."""
    row.services["controller"].kill()
    row.services.pop("controller").stop()
    time.sleep(10.0)
    start_controller(row)


def controller_restarted(row: Row) -> None:
    """systemd starts it again."""
    before = row.services["controller"].restarts
    row.services["controller"].kill()
    row.down_s = row.services["controller"].wait_until(lambda s: s.restarts > before and s.ready, 20.0)
    time.sleep(8.0)


def agent_killed(row: Row) -> None:
    before = row.services["agent-a"].restarts
    row.services["agent-a"].kill()
    row.services["agent-a"].wait_until(lambda s: s.restarts > before and s.ready, 30.0)
    time.sleep(5.0)


def agent_stopped(row: Row) -> None:
    """Its watchdog's time runs from its last sign of life, which was before the stop: at 30 s there is nothing left to continue."""
    agent, began_s = row.services["agent-a"], time.monotonic()
    before = len(agent.ends)
    agent.kill(signal.SIGSTOP)
    ended_s = agent.wait_until(lambda s: len(s.ends) > before, 45.0)
    row.remark(f"ended by {agent.ends[-1]} after {ended_s:.1f} s", agent.ends[-1] == "watchdog")
    time.sleep(max(0.0, began_s + 30.0 - time.monotonic()))
    agent.wait_ready(30.0)
    time.sleep(5.0)


def agent_stopped_briefly(row: Row) -> None:
    """Longer than a lease, shorter than its watchdog: the process goes on with what it had in hand, old reports and old grants."""
    agent = row.services["agent-a"]
    stopped = agent.pid
    agent.kill(signal.SIGSTOP)
    time.sleep(10.0)
    row.remark("the same process went on", agent.pid == stopped)
    agent.kill(signal.SIGCONT)
    time.sleep(5.0)


def network_delayed(row: Row) -> None:
    for link in row.links.values():
        link.delay_s = 10.0
    time.sleep(25.0)
    for link in row.links.values():
        link.delay_s = 0.0
        link.lead_to(row.controller_port)


def network_stalled(row: Row) -> None:
    """What was under way for 10 s arrives, late, and all at once."""
    for link in row.links.values():
        link.delay_s = 10.0
    time.sleep(10.0)
    for link in row.links.values():
        link.delay_s = 0.0
    time.sleep(15.0)


def limiter_killed(row: Row) -> None:
    """A kill every KILLS_APART_S, so that each finds a process that has begun to do something."""
    limiter, began_s = row.services["limiter-a"], time.monotonic()
    for kill in range(KILLS):
        time.sleep(max(0.0, began_s + kill * KILLS_APART_S - time.monotonic()))
        limiter.wait_until(lambda s: s.pid is not None, 10.0)
        killed_s = time.monotonic() - began_s
        limiter.kill()
        limiter.wait_until(lambda s: s.pid is None, 10.0)
    row.remark(f"{KILLS} kills in {killed_s:.1f} s, ends {' '.join(limiter.ends[-KILLS:])}", killed_s <= 10.0)
    limiter.wait_ready(20.0)
    time.sleep(3.0)


def limiter_stopped(row: Row) -> None:
    before = row.services["limiter-a"].restarts
    row.services["limiter-a"].kill(signal.SIGSTOP)
    row.services["limiter-a"].wait_until(lambda s: s.restarts > before and s.ready, 30.0)
    time.sleep(3.0)


def driver_reloaded(row: Row) -> None:
    row.gpus["a"].reload_driver()
    time.sleep(10.0)


def two_controllers(row: Row) -> None:
    """The second has a ledger of its own; less than half of the agents reach it, then all but one, then none."""
    second = _second(row)
    for count in (len(row.nodes) // 2, len(row.nodes) - 1):
        for node in row.nodes[-count:]:
            row.links[node].lead_to(second)
        time.sleep(12.0)
    row.services.pop("second").stop()
    for link in row.links.values():
        link.lead_to(row.controller_port)


def ledger_restored(row: Row) -> None:
    """From a copy that knows none of the epochs since."""
    ledger, copy = row.folder / "ledger.sqlite", row.folder / "backup.sqlite"
    _copied(ledger, copy)
    for _ in range(3):
        controller_restarted(row)
    row.services.pop("controller").stop()
    _copied(ledger, row.folder / "ledger-lost.sqlite")  # what it told is judged all the same
    for left in row.folder.glob("ledger.sqlite*"):
        left.unlink()
    shutil.copy(copy, ledger)
    start_controller(row)
    time.sleep(3.0)


def _copied(ledger: Path, to: Path) -> None:
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(to)) as sink:
        source.backup(sink)


def _second(row: Row) -> int:
    from services.port import free_port

    port = free_port()
    text = (row.folder / "controller.toml").read_text().replace(f":{row.controller_port}", f":{port}")
    lines = [line for line in text.splitlines() if not line.startswith("metrics_listen")]
    (row.folder / "second.toml").write_text("\n".join(lines).replace("ledger.sqlite", "ledger-second.sqlite"))
    start_controller(row, "second")
    return port


FAULTS: Final[Mapping[str, Fault]] = {
    "controller: SIGKILL, kept down 10 s": controller_killed,
    "controller: SIGKILL, restarted": controller_restarted,
    "agent: SIGKILL": agent_killed,
    "agent: SIGSTOP, 30 s, ended by its watchdog": agent_stopped,
    "agent: SIGSTOP, SIGCONT after 10 s": agent_stopped_briefly,
    "network: 10 s of delay for 25 s": network_delayed,
    "network: 10 s held back, then all at once": network_stalled,
    "limiter: SIGKILL, five times in 10 s": limiter_killed,
    "limiter: SIGSTOP": limiter_stopped,
    "driver: reloaded": driver_reloaded,
    "two controllers, ledgers of their own": two_controllers,
    "ledger: restored from a backup": ledger_restored,
}
AT_DEFAULT_AT_FIRST: Final[Mapping[str, str]] = {"driver: reloaded": "a"}  # the node whose cards are, until its limiter sees it
NO_CAP_CHANGES: Final = ("controller: SIGKILL, restarted",)
