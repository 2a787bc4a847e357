"""A call ends by its deadline whatever the child does, and children do not pile up."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.nvml.subject import Answer

from gpuwarden.agent import child as children
from gpuwarden.agent.child import OUTSTANDING_LIMIT, Child, ChildFailed, Hung

Make = Callable[..., Child]

SUBJECT = "fakes.nvml.subject:Subject"
PARENT = """
import sys
from gpuwarden.agent.child import Child
child = Child("fakes.nvml.subject:Subject", sys.argv[1])
print(child.call("pid", deadline_s=10.0), flush=True)
child.call("sleep", 60.0, deadline_s=60.0)
"""


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    return tmp_path / "starts"


@pytest.fixture
def make(starts: Path) -> Iterator[Make]:
    made: list[Child] = []

    def of(*arguments: object, **options: Any) -> Child:
        made.append(Child(SUBJECT, str(starts), *arguments, **options))
        return made[-1]

    yield of
    for child in made:
        child.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true: Callable[[], bool], limit_s: float) -> None:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_what_goes_in_comes_back_from_another_process(make: Make) -> None:
    child = make()
    assert child.call("pid", deadline_s=5.0) != os.getpid()
    for value in (1, 2.5, "ü", None, True, (1.0, ("x", math.inf)), {"a": 1.0}):
        assert child.call("echo", value, deadline_s=5.0) == value
    assert math.isnan(child.call("echo", math.nan, deadline_s=5.0))


def test_it_can_send_objects_of_the_named_types_and_of_no_others(make: Make) -> None:
    assert make(types=(Answer,)).call("answer", math.inf, deadline_s=5.0) == Answer(math.inf, ("a", "b"))
    child = make()
    with pytest.raises(ChildFailed, match="cannot be read") as told:
        child.call("answer", 1.0, deadline_s=5.0)
    assert told.value.kind == "Unknown"
    time.sleep(children.RESTART_S)
    assert child.call("echo", 1, deadline_s=5.0) == 1, "another one is started"


@pytest.mark.parametrize("said", [b"nonsense", b"\xff", b"1", b"[1, 2, 3]", b'[null, {"$": "Answer"}]', b"[" * 5000], ids=repr)
def test_what_cannot_be_read_is_a_failure_of_the_child(make: Make, said: bytes) -> None:
    child = make()
    pid = child.call("pid", deadline_s=5.0)
    with pytest.raises(ChildFailed, match="cannot be read"):
        child.call("say", said.decode("latin-1"), deadline_s=5.0)
    assert not alive(pid)
    time.sleep(children.RESTART_S)
    assert child.call("echo", 1, deadline_s=5.0) == 1


def test_a_child_that_cannot_be_started_has_failed_and_the_next_call_tries_again(
    make: Make, starts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = make()
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as no_room:
        no_room.setattr(children, "_BOOT", "x" * (1 << 22))  # more than execve(2) takes: E2BIG, an OSError like ENOMEM and EAGAIN
        with pytest.raises(ChildFailed, match="no child can be started"):
            child.call("pid", deadline_s=5.0)
    assert not starts.exists() and len(os.listdir("/proc/self/fd")) == before
    time.sleep(children.RESTART_S)
    assert child.call("echo", 1, deadline_s=5.0) == 1


def test_a_call_that_hangs_is_cut_off_at_its_deadline_and_the_next_one_has_a_new_child(make: Make) -> None:
    child = make()
    first = child.call("pid", deadline_s=5.0)
    start_s = time.monotonic()
    with pytest.raises(Hung, match=r"sleep gave no answer within 0\.2 s"):
        child.call("sleep", 60.0, deadline_s=0.2)
    assert time.monotonic() - start_s < 1.0
    assert not alive(first)
    assert child.outstanding == 0
    assert child.call("pid", deadline_s=5.0) != first


def test_a_start_that_hangs_is_cut_off_too(make: Make) -> None:
    start_s = time.monotonic()
    with pytest.raises(Hung, match="Subject gave no answer"):
        make(False, 60.0, start_s=1.0).call("pid", deadline_s=5.0)
    assert time.monotonic() - start_s < 3.0


def test_what_the_object_raises_is_told_by_kind_and_message(make: Make) -> None:
    with pytest.raises(ChildFailed, match="by zero") as told:
        make().call("divide", 0, deadline_s=5.0)
    assert told.value.kind == "ZeroDivisionError"


def test_a_child_that_dies_is_told_with_its_status(make: Make) -> None:
    child = make()
    with pytest.raises(ChildFailed, match="status 7") as told:
        child.call("die", 7, deadline_s=5.0)
    assert told.value.kind == "Died"
    os.kill(_running(child, make), signal.SIGKILL)
    with pytest.raises(ChildFailed, match="status -9"):
        child.call("pid", deadline_s=5.0)


def _running(child: Child, make: Make) -> int:
    time.sleep(children.RESTART_S)
    pid = child.call("pid", deadline_s=5.0)
    assert isinstance(pid, int)
    return pid


def test_one_that_fails_at_once_is_started_once_a_second_and_tells_the_same_meanwhile(make: Make, starts: Path) -> None:
    child = make(True)
    end_s = time.monotonic() + 1.5
    while time.monotonic() < end_s:
        with pytest.raises(ChildFailed, match="LookupError: not today"):
            child.call("pid", deadline_s=5.0)
        time.sleep(0.01)
    assert len(starts.read_text().split()) == 2


def test_one_that_fails_after_a_while_is_started_anew_at_once(make: Make) -> None:
    child = make()
    child.call("pid", deadline_s=5.0)
    time.sleep(children.RESTART_S)
    with pytest.raises(ChildFailed):
        child.call("divide", 0, deadline_s=5.0)
    assert child.call("echo", 1, deadline_s=5.0) == 1


def test_children_that_cannot_be_killed_are_counted_and_have_few_successors(make: Make, starts: Path) -> None:
    stuck: list[subprocess.Popen[bytes]] = []

    def kill(process: subprocess.Popen[bytes]) -> None:
        stuck.append(process)
        process.send_signal(signal.SIGSTOP)  # as deaf as one that waits inside the driver
        wait_until(lambda: ") T " in Path(f"/proc/{process.pid}/stat").read_text(), 5.0)

    child = make(kill=kill)
    for _ in range(OUTSTANDING_LIMIT):
        with pytest.raises(Hung, match="no answer"):
            child.call("sleep", 60.0, deadline_s=0.1)
    assert child.outstanding == OUTSTANDING_LIMIT
    with pytest.raises(Hung, match="3 children hang in the driver"):
        child.call("pid", deadline_s=5.0)
    assert len(starts.read_text().split()) == OUTSTANDING_LIMIT
    stuck[0].kill()
    wait_until(lambda: child.outstanding < OUTSTANDING_LIMIT, 5.0)
    assert child.call("echo", 1, deadline_s=5.0) == 1
    for process in stuck:
        process.kill()
    wait_until(lambda: child.outstanding == 0, 5.0)


def told(child: Child, method: str, *arguments: object, interrupt: int, deadline_s: float = 5.0) -> Any:
    return child.told(method, *arguments, every_s=0.05, deadline_s=deadline_s, interrupt=interrupt)


@pytest.fixture
def never() -> Iterator[int]:
    descriptor = os.eventfd(0)
    yield descriptor
    os.close(descriptor)


def test_what_a_child_tells_by_itself_comes_at_its_time(make: Make, never: int) -> None:
    child = make()
    first = told(child, "count", interrupt=never)
    start_s = time.monotonic()
    assert [told(child, "count", interrupt=never) for _ in range(10)] == list(range(first + 1, first + 11))
    assert 0.4 < time.monotonic() - start_s < 1.0


def test_an_interrupt_comes_before_what_is_told(make: Make, never: int) -> None:
    child = make()
    told(child, "count", interrupt=never)
    time.sleep(0.2)
    os.eventfd_write(never, 1)
    assert told(child, "count", interrupt=never) is None
    os.eventfd_read(never)
    assert told(child, "count", interrupt=never) > 1


def test_calls_are_answered_in_between_and_what_is_told_meanwhile_is_not_lost(make: Make, never: int) -> None:
    child = make()
    first = told(child, "count", interrupt=never)
    time.sleep(0.12)
    assert child.call("echo", "x", deadline_s=5.0) == "x"
    start_s = time.monotonic()
    assert told(child, "count", interrupt=never) > first
    assert time.monotonic() - start_s < 0.04
    child.call("sleep", 0.3, deadline_s=5.0)
    start_s = time.monotonic()
    told(child, "count", interrupt=never)
    assert time.monotonic() - start_s < 0.04, "one that was kept from telling tells at once"


def test_of_what_nobody_took_only_the_newest_is_given(make: Make, never: int) -> None:
    child = make()
    told(child, "count", interrupt=never)
    time.sleep(0.6)
    newest = told(child, "count", interrupt=never)
    assert newest >= 10
    start_s = time.monotonic()
    assert told(child, "count", interrupt=never) == newest + 1
    assert time.monotonic() - start_s < 0.2


def test_what_was_told_long_ago_is_no_news(make: Make, never: int) -> None:
    child = make()
    pid = child.call("pid", deadline_s=5.0)
    first = told(child, "count", interrupt=never, deadline_s=0.3)
    time.sleep(0.12)
    os.kill(pid, signal.SIGSTOP)  # what it told before lies in the pipe
    time.sleep(0.5)
    with pytest.raises(Hung, match=r"count gave no answer within 0\.3 s"):
        told(child, "count", interrupt=never, deadline_s=0.3)
    assert first == 1


def test_a_child_that_hangs_or_raises_as_it_is_to_tell_is_known_and_the_next_one_tells_again(make: Make, never: int) -> None:
    child = make()
    with pytest.raises(Hung, match="count_or_hang gave no answer"):
        for _ in range(5):
            told(child, "count_or_hang", 2, interrupt=never, deadline_s=0.5)
    assert told(child, "count_or_hang", 2, interrupt=never) == 1
    child = make()
    with pytest.raises(ChildFailed, match="ZeroDivisionError"):
        for _ in range(5):
            told(child, "count_or_raise", 2, interrupt=never)
    time.sleep(children.RESTART_S)
    assert told(child, "count_or_raise", 2, interrupt=never) == 1


def test_one_that_tells_and_never_answers_is_cut_off(make: Make) -> None:
    start_s = time.monotonic()
    with pytest.raises(Hung, match=r"tell_for_ever gave no answer within 0\.5 s"):
        make().call("tell_for_ever", deadline_s=0.5)
    assert time.monotonic() - start_s < 3.0


@pytest.mark.parametrize("said", [b'["told"]', b'["told", "now", 1]', b"[null, 1]", b'["told", 1e99, {"$": "x"}]'])
def test_what_is_told_amiss_is_a_failure_of_the_child(make: Make, never: int, said: bytes) -> None:
    child = make()
    with pytest.raises(ChildFailed, match=r"cannot be read|not asked"):
        for _ in range(3):  # the `None` that `say` itself returns is told too
            told(child, "say", said.decode(), interrupt=never)


def test_what_is_told_without_a_time_is_no_news(make: Make, never: int) -> None:
    child = make()
    assert {told(child, "say", '["told", {"$float": "nan"}, 1]', interrupt=never) for _ in range(5)} == {None}


def test_a_child_in_a_call_dies_with_its_parent_however_that_dies(starts: Path) -> None:
    command, env = [sys.executable, "-c", PARENT, str(starts)], {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
        parent.wait()
    wait_until(lambda: not alive(pid), 5.0)


def test_closed_it_is_gone(make: Make) -> None:
    child = make()
    pid = child.call("pid", deadline_s=5.0)
    child.close()
    assert not alive(pid)


def test_one_that_tells_as_its_parent_leaves_ends_without_a_word(make: Make, never: int, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        child = make()
        child.told("count", every_s=0.0, deadline_s=5.0, interrupt=never)
        child.close()
    assert capfd.readouterr() == ("", "")
