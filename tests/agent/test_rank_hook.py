"""The thread in a job's own Python: what it makes of counters, and that it stands in nobody's way."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from gpuwarden.agent.rank_hook.rank import Rank, Track
from gpuwarden.cli.torchrun import HOOK


def test_an_operation_takes_from_the_look_that_first_sees_it_to_the_one_that_sees_it_done() -> None:
    track = Track(3, 3)
    track.look(4, 3, 10.01, 10.02)
    track.look(4, 3, 10.03, 10.04)
    assert not track.stuck(11.0) and track.stuck(12.5)
    track.look(6, 5, 12.51, 12.52)
    assert {number: round(took_s, 3) for number, (took_s, _) in track.took.items()} == {4: 2.5, 5: 0.0}
    assert list(track.began) == [6]


def test_nobody_who_listens_is_not_waited_for(tmp_path: Path) -> None:
    rank = Rank(str(tmp_path / "nobody.sock"), {"rank": 0})
    rank.tell({"groups": []})
    rank.end("left", "")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "nobody.sock"))
        listener.listen(1)
        for _ in range(5000):  # far more than a socket holds
            rank.tell({"groups": ["x" * 1000]})
        rank.let_go()


def python(tmp_path: Path, code: str, **environment: str) -> str:
    """What a Python that has the hook and a `sitecustomize` of its own prints."""
    (tmp_path / "sitecustomize.py").write_text("print('theirs')\n")
    path = os.pathsep.join((str(HOOK), str(tmp_path)))
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return ran.stdout + ran.stderr


def test_the_sites_own_file_is_run_and_only_ranks_are_watched(tmp_path: Path) -> None:
    threads = "import threading; print([one.name for one in threading.enumerate()])"
    assert python(tmp_path, threads) == "theirs\n['MainThread']\n"
    assert python(tmp_path, threads, RANK="0", GPUWARDEN_RANK_SOCKET="/nowhere") == "theirs\n['MainThread', 'gpuwarden']\n"


TORCH = """
import sys, time, types
made = sys.modules["torch.distributed.distributed_c10d"] = types.ModuleType("distributed_c10d")
made.is_initialized = lambda: True
made.get_backend = lambda: "gloo"
made._world = types.SimpleNamespace(pg_names={}, pg_group_ranks={})
sys.modules["torch"], sys.modules["torch._C"] = types.ModuleType("torch"), types.ModuleType("torch._C")
sys.modules["torch._C"]._distributed_c10d = types.SimpleNamespace(_dump_fr_trace=lambda *how: __import__("pickle").dumps({"pg_status": {}}))
time.sleep(1.2)
"""


def test_last_words_tell_how_it_ended(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "ranks.sock"))
        listener.listen(1)
        said = {"RANK": "3", "WORLD_SIZE": "4", "GPUWARDEN_RANK_SOCKET": str(tmp_path / "ranks.sock"), "MASTER_ADDR": "a", "MASTER_PORT": "1"}
        assert "ValueError: no" in python(tmp_path, TORCH + "raise ValueError('no')", **said)
        connection, _ = listener.accept()
        with connection:
            words = [json.loads(message) for message in iter(lambda: connection.recv(1 << 20), b"")]
    told = [(one["rank"], one["ranks"], one["job"], one.get("end")) for one in words]
    assert (told[0], told[-1]) == ((3, 4, "a:1", None), (3, 4, "a:1", "raised")) and [one["number"] for one in words] == [*range(1, len(words) + 1)]
    assert words[-1]["why"] == "ValueError: no"
