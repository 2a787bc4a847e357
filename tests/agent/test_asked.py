"""What becomes of tests that the controller asks for: one at a time, once for each id, where nobody computes, under enough power, and heard for certain."""

from gpuwarden.agent.asked import LIMITS_WAIT_S, TOLD_AGAIN_S
from gpuwarden.agent.events import (
    Action,
    AnswerProbe,
    Collected,
    ControllerLink,
    FromLimiter,
    ProbeAsked,
    ProbeEnded,
    RunProbe,
    StopProbe,
    Tick,
)
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.agent.probed import Offered, Outcome, Result
from gpuwarden.agent.reading import GpuProcess, Reading
from gpuwarden.proto.lease_pb2 import CardReport, PowerReport, Sealed

OFFERED = (Offered("matmul", False, 500.0, 60.0), Offered("look", True, 0.0, 60.0), Offered("any", False, 0.0, 60.0))
PASSED, FAILED = Result(Outcome.PASSED, "all right"), Result(Outcome.FAILED, "wrong")
SLOW = Result(Outcome.FAILED, "slow", slow=True)


def agent(version: int = 2) -> Agent:
    made = Agent(AgentSetup("n1", "s", ("nvml",), OFFERED))
    made.step(0.0, ControllerLink(True, version=version))
    return made


def did(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, RunProbe | StopProbe | AnswerProbe)]


def answered(actions: list[Action]) -> Result:
    (answer,) = did(actions)
    assert isinstance(answer, AnswerProbe)
    return answer.result


def limits(*enforced_w: float, clock_hz: float = 0.0) -> FromLimiter:
    cards = [CardReport(uuid=f"GPU-{n}", default_w=700.0, enforced_w=watts) for n, watts in enumerate(enforced_w)]
    report = PowerReport(cards=cards, clocks_hz=[clock_hz] * len(cards) if clock_hz else [])
    return FromLimiter(Sealed(payload=report.SerializeToString()).SerializeToString())


def test_a_test_is_run_and_answered() -> None:
    made = agent()
    assert did(made.step(1.0, ProbeAsked("q1", "any"))) == [RunProbe("q1", "any")]
    assert did(made.step(9.0, ProbeEnded("q1", PASSED))) == [AnswerProbe("q1", "any", PASSED)]


def test_what_is_asked_twice_has_one_effect_and_two_answers() -> None:
    made = agent()
    made.step(1.0, ProbeAsked("q1", "any"))
    assert did(made.step(2.0, ProbeAsked("q1", "any"))) == []
    made.step(9.0, ProbeEnded("q1", FAILED))
    assert did(made.step(10.0, ProbeAsked("q1", "any"))) == [AnswerProbe("q1", "any", FAILED)]


def test_one_at_a_time_and_only_what_is_offered() -> None:
    made = agent()
    made.step(1.0, ProbeAsked("q1", "any"))
    assert answered(made.step(2.0, ProbeAsked("q2", "any"))).said == "test q1 is under way"
    made.step(3.0, ProbeEnded("q1", PASSED))
    result = answered(made.step(4.0, ProbeAsked("q3", "/bin/sh -c reboot")))
    assert (result.outcome, result.said) == (Outcome.IMPOSSIBLE, "this agent offers no test '/bin/sh -c reboot', it offers matmul, look, any")


def test_nothing_is_tested_beside_a_process_but_what_is_harmless() -> None:
    made = agent()
    made.step(1.0, Tick(1))
    made.step(1.0, Collected("nvml", Reading(processes=(GpuProcess("GPU-0", 77, 1, "41"),)), 0.1))
    assert answered(made.step(2.0, ProbeAsked("q1", "any"))).said == "process 77 of job 41 computes on GPU-0"
    assert did(made.step(3.0, ProbeAsked("q2", "look"))) == [RunProbe("q2", "look")]
    made.step(4.0, ProbeEnded("q2", PASSED))
    made.step(5.0, Tick(2))
    made.step(5.0, Collected("nvml", Reading(), 0.1))
    assert did(made.step(6.0, ProbeAsked("q3", "any"))) == [RunProbe("q3", "any")]


def test_it_waits_for_the_limits_it_needs_and_not_for_ever() -> None:
    made = agent()
    made.step(1.0, limits(700.0, 300.0))
    assert did(made.step(2.0, ProbeAsked("q1", "matmul"))) == []
    assert did(made.step(3.0, Tick(1))) == []
    made.step(4.0, limits(700.0, 500.0))
    assert did(made.step(5.0, Tick(2))) == [RunProbe("q1", "matmul")]
    made.step(6.0, ProbeEnded("q1", PASSED))
    made.step(7.0, limits(700.0, 300.0))
    made.step(8.0, ProbeAsked("q2", "matmul"))
    result = answered(made.step(8.0 + LIMITS_WAIT_S, Tick(3)))
    assert (result.outcome, result.said) == (Outcome.IMPOSSIBLE, "it needs 500 W a card, and 120 s brought no more: GPU-1 is limited to 300 W")
    assert did(made.step(9.0 + LIMITS_WAIT_S, ProbeAsked("q3", "any"))) == [RunProbe("q3", "any")]


def test_who_begins_to_compute_while_it_waits_goes_first() -> None:
    made = agent()
    made.step(1.0, limits(300.0))
    made.step(2.0, ProbeAsked("q1", "matmul"))
    made.step(3.0, Tick(1))
    made.step(3.5, Collected("nvml", Reading(processes=(GpuProcess("GPU-0", 77, 1),)), 0.1))
    assert answered(made.step(4.0, Tick(2))).said == "process 77 computes on GPU-0"


def test_a_job_that_comes_while_a_test_runs_goes_first() -> None:
    made = agent()
    made.step(1.0, ProbeAsked("q1", "any"))
    for at_s, process, did_it in ((2.0, GpuProcess("GPU-0", 5, 1), []), (3.0, GpuProcess("GPU-0", 77, 1, "41"), [StopProbe("q1")]), (4.0, GpuProcess("GPU-0", 78, 1, "41"), [])):
        made.step(at_s, Tick(1))
        made.step(at_s, Collected("nvml", Reading(processes=(process,)), 0.1))
        assert did(made.step(at_s + 0.5, Tick(2))) == did_it, "its own process is of no job, and it is stopped once"
    result = answered(made.step(5.0, ProbeEnded("q1", Result(Outcome.DEADLINE, "it was ended after 60 s"))))
    assert (result.outcome, result.said) == (Outcome.IMPOSSIBLE, "process 77 of job 41 computes on GPU-0: it was ended")
    made.step(6.0, ProbeAsked("q2", "look"))
    assert did(made.step(7.0, Tick(3))) == [], "what is harmless goes on"


def test_slow_because_capped_is_no_failure() -> None:
    made = agent()
    for id, before, meanwhile, name, outcome in (
        ("a", limits(700.0), limits(700.0), "any", Outcome.FAILED), ("b", limits(600.0), limits(700.0), "any", Outcome.IMPOSSIBLE),
        ("c", limits(700.0), limits(600.0), "any", Outcome.IMPOSSIBLE), ("d", limits(600.0), limits(500.0), "matmul", Outcome.FAILED),
        ("e", limits(600.0), limits(400.0), "matmul", Outcome.IMPOSSIBLE), ("f", limits(700.0, clock_hz=1e9), limits(700.0), "matmul", Outcome.IMPOSSIBLE),
    ):  # fmt: skip
        made.step(1.0, before)
        assert did(made.step(2.0, ProbeAsked(id, name))) == [RunProbe(id, name)], id
        made.step(3.0, meanwhile)
        made.step(4.0, limits(700.0))
        assert answered(made.step(5.0, ProbeEnded(id, SLOW))).outcome is outcome, id
    made.step(6.0, limits(300.0))
    made.step(7.0, ProbeAsked("wrong", "any"))
    assert answered(made.step(8.0, ProbeEnded("wrong", FAILED))).outcome is Outcome.FAILED, "a wrong result is wrong under every limit"


def test_the_newest_answer_is_said_again_on_a_new_session_for_as_long_as_somebody_may_wait() -> None:
    made = agent()
    made.step(1.0, ProbeAsked("q1", "any"))
    made.step(2.0, ControllerLink(False, "gone"))
    assert did(made.step(3.0, ProbeEnded("q1", PASSED))) == []
    assert did(made.step(4.0, ControllerLink(True, version=1))) == [], "it would end the session of an older controller"
    assert did(made.step(5.0, ControllerLink(True, version=2))) == [AnswerProbe("q1", "any", PASSED)]
    assert did(made.step(4.0 + TOLD_AGAIN_S, ControllerLink(True, version=2))) == []
