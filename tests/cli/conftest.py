"""A machine on which everything is configured, and nothing runs yet."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from services.port import free_port

from gpuwarden.cli.checks.found import Found
from gpuwarden.cli.checks.place import Place
from gpuwarden.core.seal import KEY_BYTES


@dataclass(frozen=True, slots=True)
class Machine:
    """`place` is what the checks are given; ports are free."""

    place: Place
    controller_port: int
    metrics_port: int

    @property
    def keys(self) -> Path:
        return self.place.config_dir / "keys"

    def replace(self, daemon: str, old: str, new: str) -> None:
        file = self.place.file(daemon)
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(Place(tmp_path, tmp_path / "root"), free_port(), free_port())
    (tmp_path / "state").mkdir()
    made.keys.mkdir()
    for node in ("n1", "n2"):
        write_key(made.keys / f"{node}.key", 1)
    write_key(tmp_path / "node.key", 1)
    made.place.file("agent").write_text(
        f'node = "n1"\ncontroller = "127.0.0.1:{made.controller_port}"\nlimiter_socket = "{tmp_path}/limiter.sock"\n'
        f'spool_file = "{tmp_path}/state/spool"\n', encoding="utf-8",
    )
    made.place.file("limiter").write_text(
        f'node = "n1"\nkey_file = "{tmp_path}/node.key"\nfloor_w = 200.0\nsocket = "{tmp_path}/limiter.sock"\n'
        f'state_file = "{tmp_path}/state/limiter.json"\n', encoding="utf-8",
    )
    made.place.file("controller").write_text(
        f'listen = "127.0.0.1:{made.controller_port}"\nmetrics_listen = "127.0.0.1:{made.metrics_port}"\n'
        f'ledger_file = "{tmp_path}/state/ledger"\nkeys_dir = "{made.keys}"\n'
        '[[domains]]\nname = "row-a"\nrating_w = 30_000\n[[domains.classes]]\nname = "h100"\nnodes = ["n[1-2]"]\nfloor_w = 200.0\n',
        encoding="utf-8",
    )
    return made


def write_key(file: Path, number: int) -> None:
    file.write_text(f"{number:0{2 * KEY_BYTES}x}\n", encoding="ascii")
    file.chmod(0o600)


@pytest.fixture
def told() -> Callable[[Iterable[Found]], dict[str, str]]:
    """Sentences by outcome, joined: what a test asserts on."""

    def of(found: Iterable[Found]) -> dict[str, str]:
        by_outcome: dict[str, str] = {}
        for one in found:
            by_outcome[one.outcome.value] = "; ".join(filter(None, (by_outcome.get(one.outcome.value), f"{one.sentence} -> {one.then}")))
        return by_outcome

    return of
