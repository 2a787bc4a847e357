"""What gpuwarden costs a node: memory and CPU of the agent, the limiter and their children, with Kafka and a controller there.

    python bench/agent.py [--duration 60] [--json FILE]

Eight simulated GPUs under load, every collector (eight InfiniBand ports in a copy of sysfs and a BMC that is a process of its own),
power read ten times a second, telemetry to Apache Kafka once a second, limits under a lease. At most 100 MiB and 3 % of a core. Memory is PSS: what processes share is counted once. Beside it, in the same run and on the same cards: nvitop's exporter,
which reads the cards once a second and is scraped as often. The simulated driver runs inside who reads it, so that its work counts as
theirs, for both. Bytecode is compiled beforehand, as pip does when it installs: who compiles at each start carries 50 MiB more.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fakes.redfish.service import PASSWORD, USER, FakeBmc
from fakes.redfish.service import running as bmc_running
from fakes.redfish.tree import tree
from fakes.sysfs import with_infiniband
from process_cost import cpu_s, family, pss_mib
from profile_of import profile
from services import kafka, stack
from services.cache import cached
from services.port import free_port, wait_until_open

from gpuwarden.agent.collectors import COLLECTORS

NODE, GPUS = "node-1", 8
DOMAIN = 'name = "row"\nrating_w = 6200.0\nmode = "auto"\ndead_nodes = 0\n'
SETTLE_S, PROFILE_S = 12.0, 20
MIB_LIMIT, PERCENT_LIMIT = 100.0, 3.0
PEER = "nvitop-exporter"
MODULES = ("gpuwarden.cli.main", "gpuwarden.agent.main", "gpuwarden.agent.limiter.main", "gpuwarden.agent.limiter.cards_session", "gpuwarden.agent.nvml_pass")


@dataclass(frozen=True, slots=True)
class Cost:
    """`pss_mib` at the end, `cpu_percent` of one core over the time."""

    processes: int
    pss_mib: float
    cpu_percent: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["PYTHONDONTWRITEBYTECODE"] = ""
    subprocess.run([sys.executable, "-c", f"import {', '.join(MODULES)}"], check=True)
    result = _measured(args.duration)
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")
    return 0 if result["pss_mib"] <= MIB_LIMIT and result["cpu_percent"] <= PERCENT_LIMIT else 1


def _measured(duration_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made, ExitStack() as opened:
        folder = Path(made)
        (folder / "kafka").mkdir()
        broker = opened.enter_context(kafka.running(folder / "kafka"))
        bmc = opened.enter_context(bmc_running(FakeBmc(tree(present=True, before=True))))
        plan = stack.Plan((NODE,), DOMAIN, broker.bootstrap, GPUS, agents=_agents(folder, bmc.url))
        row = opened.enter_context(stack.running(folder, plan))
        row.gpus[NODE].set_demands(650.0)
        peer = opened.enter_context(_exporter(folder, row.gpus[NODE].env()))
        time.sleep(SETTLE_S)
        collectors = _collectors(row.metrics[f"agent-{NODE}"])
        assert collectors == set(COLLECTORS) - {"fake"}, f"only {collectors} run"
        roots = {"agent": row.processes[f"agent-{NODE}"].pid, "limiter": row.processes[f"limiter-{NODE}"].pid, PEER: peer}
        costs = _costs({name: family(pid) for name, pid in roots.items()}, duration_s)
        top_five = profile([*family(roots["agent"]), *family(roots["limiter"])], folder, PROFILE_S)
    ours = [costs["agent"], costs["limiter"]]
    return {
        "duration_s": duration_s,
        "collectors": sorted(collectors),
        "pss_mib": round(sum(cost.pss_mib for cost in ours), 1),
        "cpu_percent": round(sum(cost.cpu_percent for cost in ours), 2),
        **{f"{name}_{key}": value for name, cost in costs.items() for key, value in _plain(cost).items()},
        "profile_top_five": top_five,
    }


def _agents(folder: Path, bmc_url: str) -> str:
    """The lines of the agent's TOML that turn every collector on."""
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    names = ", ".join(f'"{name}"' for name in COLLECTORS if name != "fake")
    bmc = f'bmc.url = "{bmc_url}"\nbmc.user = "{USER}"\nbmc.password_file = "{password}"'
    return f'collectors = [{names}]\nsys = "{with_infiniband(folder / "sys", ports=8)}"\n{bmc}'


def _collectors(port: int) -> set[str]:
    """The collectors whose passes the agent's metrics count."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as page:
        return set(re.findall(r'^gpuwarden_collector_success\{collector="(\w+)"\} 1', page.read().decode(), re.MULTILINE))


def _plain(cost: Cost) -> dict[str, float]:
    return {"processes": cost.processes, "pss_mib": round(cost.pss_mib, 1), "cpu_percent": round(cost.cpu_percent, 2)}


def _costs(families: dict[str, list[int]], duration_s: float) -> dict[str, Cost]:
    before = {name: sum(map(cpu_s, pids)) for name, pids in families.items()}
    time.sleep(duration_s)
    return {
        name: Cost(len(pids), sum(map(pss_mib, pids)), 100 * (sum(map(cpu_s, pids)) - before[name]) / duration_s)
        for name, pids in families.items()
    }


@contextmanager
def _exporter(folder: Path, env: dict[str, str]) -> Iterator[int]:
    """nvitop's exporter on the same cards, scraped once a second; its process id."""
    port, log = free_port(), folder / "exporter.log"
    packages = cached(PEER, PEER.encode(), _install)
    command = [sys.executable, "-m", "nvitop_exporter", "--bind-address", "127.0.0.1", "--port", str(port), "--interval", "1.0"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **env, "PYTHONPATH": str(packages)})
    stop = threading.Event()
    try:
        wait_until_open(port, process, log, 20.0)
        threading.Thread(target=_scrape, args=(port, stop), daemon=True).start()
        yield process.pid
    finally:
        stop.set()
        process.kill()
        process.wait()


def _install(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", "install", "--target", str(folder), PEER], check=True)


def _scrape(port: int, stop: threading.Event) -> None:
    while not stop.wait(1.0):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as page:
            page.read()


if __name__ == "__main__":
    sys.exit(main())
