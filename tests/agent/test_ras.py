"""NCCL's RAS port as the agent asks it: recorded answers, servers that are old, broken, silent or another thing, and who of a job's nodes asks."""

import time
from pathlib import Path

import pytest
from fakes.ras_server import RasServer, recorded, serving

from gpuwarden.agent.collectors.ras import Ras
from gpuwarden.agent.collectors.ras import open as open_ras
from gpuwarden.agent.comm import record
from gpuwarden.agent.config import AgentConfig, RasConfig
from gpuwarden.agent.jobs import Jobs
from gpuwarden.agent.ras_client import RasAway, RasFailed, ask
from gpuwarden.agent.reading import RasReading, Reading, Unsupported
from gpuwarden.core.address import Address
from gpuwarden.core.nccl.ras import read
from gpuwarden.detector.comm.live_ras import LiveRas
from gpuwarden.proto.decode_comm import Asked, decode_comm

STATUS = ["CLIENT PROTOCOL 2", "SET FORMAT json", "TIMEOUT 10", "VERBOSE STATUS"]
BROKEN = recorded().replace('"missing_ranks": [\n\n      ]', '"missing_ranks": [ {"rank": 1, "host": "h", "pid": 1} {"rank": 2, "host": "h", "pid": 2} ]')


def test_a_recorded_answer_is_asked_for_and_read() -> None:
    with serving(RasServer(recorded())) as server:
        answer = read(ask(server.at))
    assert server.told == STATUS
    assert (answer.version, len(answer.communicators), answer.mended) == ("2.28.9", 2, False)
    assert answer == read(recorded().encode())


def test_a_server_that_knows_no_json_is_not_asked_for_anything() -> None:
    with serving(RasServer(recorded(), {"SET FORMAT json": "ERROR: unknown command"})) as server, pytest.raises(RasFailed, match=r"older than 2\.28\.7"):
        ask(server.at)
    assert server.told == STATUS[:2]


@pytest.mark.parametrize("silent_at", STATUS)
def test_a_server_that_never_answers_is_left_after_a_while(silent_at: str) -> None:
    with serving(RasServer(recorded(), silent_at=silent_at)) as server:
        began_s = time.monotonic()
        with pytest.raises(RasFailed, match=r"no answer within 0\.3 s"):
            ask(server.at, 0.3)
        assert time.monotonic() - began_s < 2.0


@pytest.mark.parametrize(("says", "why"), [("HTTP/1.1 400 Bad Request", "that is no RAS port"), ("x" * 1000, "the answer is no line|no RAS port")])
def test_what_is_no_ras_port_is_told_so(says: str, why: str) -> None:
    with serving(RasServer("", {STATUS[0]: says})) as server, pytest.raises(RasFailed, match=why):
        ask(server.at)


def test_nobody_there_is_no_fault() -> None:
    with serving(RasServer("")) as server:
        pass
    with pytest.raises(RasAway):
        ask(server.at)


def jobs(tmp_path: Path, pid: int = 481) -> Jobs:
    about = tmp_path / str(pid)
    about.mkdir()
    (about / "stat").write_text(f"{pid} (python) S" + " 1" * 30)
    (about / "cgroup").write_text("0::/system.slice/slurmstepd.scope/job_1234/step_0/user/task_0\n")
    return Jobs(tmp_path)


def answered(ras: Ras) -> Reading:
    """When the first question is through."""
    ras.collect()
    until_s = time.monotonic() + 10
    while any(port.asking is not None and port.asking.is_alive() for port in ras._ports) and time.monotonic() < until_s:
        time.sleep(0.01)
    return ras.collect()


def test_from_the_port_to_what_the_detector_makes_of_it(tmp_path: Path) -> None:
    with serving(RasServer(recorded())) as server:
        reading = answered(Ras((server.at,), 30.0, jobs(tmp_path)))
    (told,) = reading.comm
    assert isinstance(told, RasReading) and (told.job, told.pid, reading.lacks) == ("1234", 481, ())
    asked = decode_comm(record("n1", "s1", 1, 1, told))
    assert isinstance(asked, Asked) and asked.job == "1234"
    live = LiveRas()
    live.take(1.0, asked.ras)
    assert live.newest == told.answer  # nothing is lost on the way


@pytest.mark.parametrize(("answer", "why"), [
    (BROKEN, "the answer's JSON is broken, as NCCL 2.28.9 writes it"),
    (recorded().replace('"rank": 0', '"rank": -1'), "communicators[0].ranks[0].rank: is -1"),
    (recorded()[:-100], "is no JSON"),
    ("", "is no JSON"),
    (recorded().replace("2.28.9", "2.29.7"), "NCCL 2.29.7 crashes jobs that are asked: it is not asked again"),
    (recorded().replace("481", "482"), "whose job process 482 is cannot be told"),
])  # fmt: skip
def test_an_answer_that_is_none_is_refused_with_the_reason(tmp_path: Path, answer: str, why: str) -> None:
    with serving(RasServer(answer)) as server:
        ras = Ras((server.at,), 30.0, jobs(tmp_path))
        reading = answered(ras)
        assert reading.comm == () and why in reading.lacks[0], reading.lacks
        ras._ports[0].due_s = 0.0
        answered(ras)
        assert server.told.count("VERBOSE STATUS") == (1 if "2.29.7" in why else 2)


def test_only_the_node_of_the_lowest_rank_that_answers_asks_for_the_job(tmp_path: Path) -> None:
    with serving(RasServer(recorded("198.51.100.7"))) as server:
        ras = Ras((server.at,), 30.0, jobs(tmp_path))
        assert answered(ras) == Reading()
        assert ras._ports[0].due_s > time.monotonic() + 500


def test_a_port_that_keeps_silent_keeps_no_pass_waiting(tmp_path: Path) -> None:
    with serving(RasServer(recorded(), silent_at=STATUS[0])) as silent, serving(RasServer(recorded())) as server:
        ras = Ras((silent.at, server.at), 30.0, jobs(tmp_path))
        ras.collect()
        until_s, told = time.monotonic() + 10, list[object]()
        while not told and time.monotonic() < until_s:
            began_s = time.monotonic()
            told = [*ras.collect().comm]
            assert time.monotonic() - began_s < 0.5
            time.sleep(0.01)
        assert len(told) == 1


def test_configuration_says_what_is_wrong_with_it() -> None:
    with pytest.raises(Unsupported, match="there is no ras"):
        open_ras(AgentConfig())
    assert [*RasConfig().problems()] == []
    assert [line.partition(":")[0] for line in RasConfig(ports=(Address("10.0.0.1", 28028),), period_s=1.0).problems()] == ["ports", "period_s"]
