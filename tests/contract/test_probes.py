"""Tests of a node, on real processes: each says whether it passed, failed or could not be run, whatever its program does, and leaves nothing running."""

import json
import os
import queue
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpuwarden.agent.events import ProbeEnded
from gpuwarden.agent.probe_child import HEARD_BYTES, Immortal, environment, run
from gpuwarden.agent.probe_config import ProbeConfig
from gpuwarden.agent.probed import Outcome, Result
from gpuwarden.agent.probes import PROBES
from gpuwarden.agent.probing import Probing
from gpuwarden.agent.selftest import arrays, told

PYTHON = sys.executable

DCGM_3 = {"DCGM GPU Diagnostic": {"test_categories": [
    {"category": "Deployment", "tests": [{"name": "Denylist", "results": [{"gpu_ids": "0,1", "status": "Pass"}]}]},
    {"category": "Hardware", "tests": [
        {"name": "Diagnostic", "results": [{"gpu_ids": "0", "status": "Pass"}, {"gpu_ids": "1", "status": "Fail", "warnings": "ECC error"}]},
        {"name": "Pulse Test", "results": [{"gpu_ids": "0,1", "status": "Skip"}]},
    ]},
], "version": "3.3.5"}}  # fmt: skip
DCGM_4 = {"DCGM Diagnostic": {"test_categories": [
    {"category": "Deployment", "tests": [{"name": "software", "results": [{"entity_group": "GPU", "entity_id": 0, "status": "Pass"}], "test_summary": {"status": "Pass"}}]},
    {"category": "Integration", "tests": [{"name": "pcie", "results": [{"entity_group": "GPU", "entity_id": 0, "status": "Warn"}]}]},
]}}  # fmt: skip
NCCL_TESTS = """# nThread 1 nGpus 8 minBytes 268435456 maxBytes 268435456 step: 1048576(bytes) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
   268435456      67108864     float     sum      -1   1023.1  262.37  459.15       0   1022.4  262.55  459.47       0
# Out of bounds values : {wrong} {word}
# Avg bus bandwidth    : 459.31
#
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """A program that is this Python text."""

    def made(text: str) -> Path:
        path = tmp_path / "program"
        path.write_text(f"#!{PYTHON}\n{text}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return made


@pytest.fixture
def tested() -> Iterator[Callable[[ProbeConfig], Result]]:
    """What comes of a test, run as the agent runs it."""
    opened = list[Probing]()

    def of(probe: ProbeConfig) -> Result:
        assert list(probe.problems()) == []
        ended: queue.Queue[ProbeEnded] = queue.Queue()
        opened.append(Probing((probe,), ended.put))
        opened[-1].order("q1", probe.name)
        event = ended.get(timeout=60)
        assert event.id == "q1"
        return event.result

    yield of
    for probing in opened:
        probing.close()


def command(path: Path, *more: str, deadline_s: float = 20.0) -> ProbeConfig:
    return ProbeConfig("site", "command", deadline_s, argv=(str(path), *more))


@pytest.mark.parametrize(("text", "outcome", "said"), [
    ("print('all is well')", Outcome.PASSED, "all is well"),
    ("import sys; print('fine'); sys.exit('card 3 is slow')", Outcome.FAILED, "it ended with status 1: card 3 is slow"),
    ("import sys; print('no card is free'); sys.exit(77)", Outcome.IMPOSSIBLE, "it ended with status 77: no card is free"),
    ("import sys; sys.exit(127)", Outcome.IMPOSSIBLE, "it ended with status 127: it said nothing"),
    ("import os; os.abort()", Outcome.IMPOSSIBLE, "it was killed by signal 6"),
    ("import os, sys; sys.stdout.buffer.write(b'\\xff\\xfe\\x00 \\x1b[31mred\\n')", Outcome.PASSED, "\ufffd\ufffd? ?[31mred"),
    ("import sys; print(sys.argv[1:], end='')", Outcome.PASSED, "['a b', '$(id)', ';', '`x`', '*', '>f']"),
])  # fmt: skip
def test_a_command_says_by_its_status_how_the_node_is(
    script: Callable, tested: Callable, tmp_path: Path, text: str, outcome: Outcome, said: str
) -> None:
    before = sorted(tmp_path.iterdir())
    result = tested(command(script(text), "a b", "$(id)", ";", "`x`", "*", ">f"))
    assert (result.outcome, result.said[: len(said)]) == (outcome, said)
    assert result.said.isprintable() and result.took_s > 0
    assert [one.name for one in sorted(tmp_path.iterdir())] == [one.name for one in before] + ["program"], "no shell has seen its arguments"


def test_a_program_that_is_not_there_or_is_none_says_nothing_of_the_node(tmp_path: Path, tested: Callable) -> None:
    assert tested(command(tmp_path / "gone")).outcome is Outcome.IMPOSSIBLE
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x7fELF and no more")
    nonsense.chmod(0o755)
    assert (result := tested(command(nonsense))).outcome is Outcome.IMPOSSIBLE
    assert "Exec format error" in result.said


def test_a_hundred_megabytes_are_read_and_not_kept(script: Callable, tested: Callable) -> None:
    text = "import sys\nfor _ in range(1600): sys.stdout.write('x' * 65535 + '\\n')\nprint('done')"
    assert (result := tested(command(script(text), deadline_s=60))).outcome is Outcome.PASSED
    assert result.said == "done"
    ended = run((str(script(text)),), 60.0, threading.Event())
    assert ended.cut and len(ended.output) <= HEARD_BYTES


def test_one_that_hangs_is_ended_with_all_that_it_began(script: Callable, tested: Callable, tmp_path: Path) -> None:
    """Also where it does not listen to SIGTERM, and its child holds its output open."""
    text = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)"""
    began_s = time.monotonic()
    result = tested(command(script(text), deadline_s=2.0))
    assert (result.outcome, result.said) == (Outcome.DEADLINE, "it was ended after 2 s")
    assert time.monotonic() - began_s < 8
    assert_gone(tmp_path / "pids")


def test_what_a_program_leaves_behind_ends_with_it_and_is_not_waited_for(script: Callable, tested: Callable, tmp_path: Path) -> None:
    text = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "pids")!r}, "w").write(str(child.pid))
print("well")"""
    began_s = time.monotonic()
    assert tested(command(script(text))).said == "well"
    assert time.monotonic() - began_s < 5
    assert_gone(tmp_path / "pids")


def assert_gone(pids: Path) -> None:
    until_s = time.monotonic() + 5
    while any(alive(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < until_s
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_test_dies_with_its_agent(script: Callable, tmp_path: Path) -> None:
    text = f"import os, time\nopen({str(tmp_path / 'pids')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    agent = f"import threading\nfrom gpuwarden.agent.probe_child import run\nrun(({str(script(text))!r},), 600.0, threading.Event())"
    parent = subprocess.Popen([PYTHON, "-c", agent])
    until_s = time.monotonic() + 20
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        assert time.monotonic() < until_s
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    assert_gone(tmp_path / "pids")


def test_an_agent_that_ends_kills_its_test_and_tells_nobody(script: Callable, tmp_path: Path) -> None:
    text = f"import os, time\nopen({str(tmp_path / 'pids')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    ended = list[ProbeEnded]()
    probing = Probing((command(script(text), deadline_s=600.0),), ended.append)
    probing.order("q1", "site")
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        time.sleep(0.02)
    began_s = time.monotonic()
    probing.close()
    assert time.monotonic() - began_s < 3 and ended == []
    assert_gone(tmp_path / "pids")


def test_one_that_is_stopped_is_killed_at_once_and_is_answered(script: Callable, tmp_path: Path) -> None:
    text = f"import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen({str(tmp_path / 'pids')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    ended: queue.Queue[ProbeEnded] = queue.Queue()
    probing = Probing((command(script(text), deadline_s=600.0),), ended.put)
    probing.order("q1", "site")
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        time.sleep(0.02)
    probing.stop("q0")
    began_s = time.monotonic()
    probing.stop("q1")
    assert ended.get(timeout=10).id == "q1" and time.monotonic() - began_s < 3
    assert_gone(tmp_path / "pids")
    probing.close()


def test_one_that_cannot_be_killed_is_told_and_nothing_else_is_begun_beside_it(script: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing hangs in the kernel at will: here its death is only not seen."""
    ended: queue.Queue[ProbeEnded] = queue.Queue()
    probing = Probing((command(script("import time; time.sleep(600)"), deadline_s=1.0),), ended.put)

    class Undead:
        pid, gone = 7, None

        def poll(self) -> int | None:
            return self.gone

    undead = Undead()
    with monkeypatch.context() as hung:
        hung.setattr("gpuwarden.agent.probing.run", lambda *given: (_ for _ in ()).throw(Immortal(undead)))
        probing.order("q1", "site")
        assert (result := ended.get(timeout=10).result).outcome is Outcome.DEADLINE
        assert "hangs in the kernel" in result.said
    probing.order("q2", "site")
    assert ended.get(timeout=10).result.said.startswith("an earlier test is still there")
    undead.gone = -9
    probing.order("q3", "site")
    assert ended.get(timeout=10).result.said == "it was ended after 1 s"
    probing.close()


def test_a_program_sees_no_credentials_and_cannot_speak_to_systemd() -> None:
    ours = {"PATH": "/bin", "NOTIFY_SOCKET": "/run/x", "CREDENTIALS_DIRECTORY": "/run/c", "WATCHDOG_USEC": "1", "CUDA_HOME": "/c", "AWS_SECRET": "s"}
    assert environment(ours) == {"PATH": "/bin", "CUDA_HOME": "/c", "LANG": "C.UTF-8"}


@pytest.mark.parametrize("kind", ["matmul", "memory"])
@pytest.mark.parametrize("by", ["torch", "numpy", "Python"])
def test_our_own_pass_on_the_host_and_say_what_reckoned(kind: str, by: str, tested: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {"torch": (), "numpy": ("torch",), "Python": ("torch", "numpy")}[by]:
        (tmp_path / f"{name}.py").write_text("raise ImportError('as if it were not there')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = tested(ProbeConfig("t", kind, 60.0, seconds=0.1, memory_gib=0.01))
    assert result.outcome is Outcome.PASSED and f"({by}" in result.said
    (figure,) = result.figures
    assert (figure.name, figure.unit, figure.value > 0) == ("the slowest's pace", {"matmul": "TFLOP/s", "memory": "GB/s"}[kind], True)


@pytest.mark.parametrize("kind", ["matmul", "memory"])
def test_our_own_fail_where_the_host_is_slower_than_declared_and_not_where_it_lacks_cards(kind: str, tested: Callable) -> None:
    probe = ProbeConfig("t", kind, 60.0, seconds=0.1, memory_gib=0.01)
    slow = tested(replace(probe, least=1e6))
    assert (slow.outcome, slow.slow, slow.figures[0].expected) == (Outcome.FAILED, True, 1e6)
    assert "should be 1e+06 or more" in slow.said
    import torch

    if torch.cuda.device_count() == 0:
        assert tested(replace(probe, gpus=8)).outcome is Outcome.IMPOSSIBLE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.0])
def test_a_product_with_one_wrong_entry_is_found(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    class Bad(np.ndarray):
        def __matmul__(self, other: object) -> object:
            made = np.asarray(self) @ np.asarray(other)
            if made.dtype == np.float32:  # that which is tested, not what it is tested with
                made[3, 5] += value
            return made

    real = np.random.default_rng

    class Chance:
        def __init__(self, seed: int) -> None:
            self._real = real(seed)

        def integers(self, *given: object) -> object:
            return self._real.integers(*given).view(Bad)

    monkeypatch.setattr(np.random, "default_rng", Chance)
    monkeypatch.setattr(arrays, "_there", lambda name: np if name == "numpy" else None)
    with np.errstate(all="ignore"):
        made = told.told(0, 0.1, 1e12, lambda work, place, number: work.product(place, number))
    assert made["wrong"] == "cpu: result 1 is wrong"


def test_a_word_that_does_not_come_back_as_it_was_written_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    written = torch.Tensor.copy_

    def stuck(chunk: torch.Tensor, *given: object) -> torch.Tensor:
        made = written(chunk, *given)
        chunk[7] |= 1 << 40  # a bit that is always set
        return made

    monkeypatch.setattr(torch.Tensor, "copy_", stuck)
    made = told.told(0, 0.1, 1e9, lambda work, place, number: work.pattern(place, number, 0.001))
    assert made["wrong"] == "cpu: result 1 is wrong"


def test_what_our_own_prints_is_read_with_care(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpuwarden.agent.probes.kind import Ended

    probe, read = ProbeConfig("t", "matmul"), PROBES["matmul"].read
    for output in ("", "[]", "{}", '{"by": 1}', "[" * 100_000, '{"by": "x", "wrong": "", "lacks": "", "pace": "fast"}', '{"by":"x","wrong":"","lacks":"","pace":NaN}'):
        assert read(probe, Ended(0, output, "")).outcome is Outcome.IMPOSSIBLE
    assert read(probe, Ended(-9, "", "Killed")).said == "it was killed by signal 9: Killed"
    wrong = read(probe, Ended(0, json.dumps({"by": "x", "wrong": "cuda:3: CUDA error:\x1b[2J", "lacks": "", "pace": None}), ""))
    assert (wrong.outcome, wrong.slow) == (Outcome.FAILED, False) and wrong.said == "cuda:3: CUDA error:?[2J (x)"


@pytest.mark.parametrize(("told_by_it", "status", "outcome", "said"), [
    (json.dumps(DCGM_3), 226, Outcome.FAILED, "level 2: Diagnostic failed"),
    ("nv-hostengine is old\n" + json.dumps(DCGM_4), 0, Outcome.PASSED, "level 2: 1 tests passed, 1 with warnings, 0 skipped"),
    ("Error: unable to establish a connection to the specified host: localhost", 255, Outcome.IMPOSSIBLE, "it ended with status 255: Error: unable"),
    ("{}", 0, Outcome.IMPOSSIBLE, "it ended with status 0"),
    ("{" * 5000, 0, Outcome.IMPOSSIBLE, "it ended with status 0"),
    (json.dumps({"a": {"test_categories": [{"tests": [{"name": 3, "results": [{"status": "Fail"}]}]}]}}), 0, Outcome.FAILED, "level 2: 3 failed"),
])  # fmt: skip
def test_dcgmi_is_asked_for_its_level_and_its_json_is_read(script: Callable, tested: Callable, told_by_it: str, status: int, outcome: Outcome, said: str) -> None:
    program = script(f"import sys\nassert sys.argv[1:] == ['diag', '-r', '2', '--json']\nprint({told_by_it!r})\nsys.exit({status})")
    result = tested(ProbeConfig("d", "dcgmi", 20.0, level=2, argv=(str(program),)))
    assert (result.outcome, result.said[: len(said)]) == (outcome, said)


@pytest.mark.parametrize(("wrong", "least", "outcome", "slow"), [
    (0, 0.0, Outcome.PASSED, False), (0, 400.0, Outcome.PASSED, False), (0, 460.0, Outcome.FAILED, True), (3, 0.0, Outcome.FAILED, False),
])  # fmt: skip
def test_nccl_tests_are_read_as_they_print(script: Callable, tested: Callable, wrong: int, least: float, outcome: Outcome, slow: bool) -> None:
    told_by_it = NCCL_TESTS.format(wrong=wrong, word="FAILED" if wrong else "OK")
    program = script(f"import sys\nassert sys.argv[1:] == '-b 256M -e 256M -g 8 -c 1'.split()\nprint({told_by_it!r})\nsys.exit({bool(wrong):d})")
    result = tested(ProbeConfig("n", "nccl-tests", 20.0, gpus=8, least=least, argv=(str(program),)))
    assert (result.outcome, result.slow) == (outcome, slow)
    assert [(figure.name, figure.value) for figure in result.figures] == [("bus bandwidth", 459.31), ("wrong values", float(wrong))]


@pytest.mark.parametrize("kind", ["dcgmi", "nccl-tests"])
def test_where_nvidias_programs_are_not_there_the_node_is_not_judged(kind: str, tested: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert (result := tested(ProbeConfig("d", kind, 20.0, gpus=2))).outcome is Outcome.IMPOSSIBLE
    assert "is in no folder of PATH" in result.said


@pytest.mark.parametrize(("probe", "problem"), [
    (ProbeConfig("a b", "matmul"), "name: is 'a b'"),
    (ProbeConfig("a", "shell"), "kind: is 'shell', should be one of matmul, memory, dcgmi, nccl-tests, command"),
    (ProbeConfig("a", "command"), "argv: is missing"),
    (ProbeConfig("a", "command", argv=("nvidia-smi",)), "argv: begins with 'nvidia-smi', should begin with a program's whole path"),
    (ProbeConfig("a", "command", argv=("/bin/x\0y",)), "argv: has a NUL in it"),
    (ProbeConfig("a", "matmul", argv=("/bin/x",)), "argv: is of no use"),
    (ProbeConfig("a", "dcgmi", argv=("/bin/x", "-r", "4")), "argv: has arguments"),
    (ProbeConfig("a", "nccl-tests"), "gpus: is 0"),
    (ProbeConfig("a", "dcgmi", level=5), "level: is 5"),
    (ProbeConfig("a", "dcgmi", 7200.0), "deadline_s: is 7200"),
    (ProbeConfig("a", "matmul", 60.0, gpus=8, seconds=10), "deadline_s: is 60, should be more than 80"),
    (ProbeConfig("a", "matmul", needs_w=float("nan")), "needs_w: is nan"),
])  # fmt: skip
def test_what_cannot_be_a_test_is_refused_with_the_field(probe: ProbeConfig, problem: str) -> None:
    assert [line for line in probe.problems() if line.startswith(problem)], list(probe.problems())
