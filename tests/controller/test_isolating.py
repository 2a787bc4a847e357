"""The whole controller in this process, isolating on a dry run: from findings on the bus to drains, questions, alerts, and over restarts."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.isolated import JOB, NODES, Site, site_of, wait_for
from prometheus_client import REGISTRY

from gpuwarden.cli.main import main
from gpuwarden.controller import isolating
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.events import FindingArrived
from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig
from gpuwarden.controller.isolation.desk import Desk
from gpuwarden.controller.isolation.events import JobTold
from gpuwarden.controller.job_words import JobWords
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.schedulers.scheduler import Availability
from gpuwarden.controller.scheduling import Scheduling
from gpuwarden.core.config import load
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto import topics
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.finding_pb2 import Evidence
from gpuwarden.proto.lease_pb2 import MODE_AUTO
from gpuwarden.proto.progress_pb2 import JobPhase, JobProgress

PASSED, FAILED = pb.PROBE_OUTCOME_PASSED, pb.PROBE_OUTCOME_FAILED


@pytest.fixture
def site(controller_config: ControllerConfig, monkeypatch: pytest.MonkeyPatch) -> Site:
    return site_of(controller_config, monkeypatch)


def node(shell: ControllerShell, name: str = "n1") -> pb.IsolatedNode | None:
    """As the newest picture shows it."""
    newest = shell.board.newest()
    return next((one for one in newest.isolation.nodes if one.name == name), None) if newest else None


def state(shell: ControllerShell) -> str:
    return shown.state if (shown := node(shell)) is not None else ""


def question_about(shell: ControllerShell, what: str) -> str:
    """The id of the open one that begins so."""
    found = list[str]()
    wait_for(lambda: found.extend(one.id for one in shell.board.newest().isolation.questions if one.sentence.startswith(what)) or found)
    return found[0]


@pytest.fixture
def control_of() -> Iterator[Callable[[ControllerShell], ControlServiceStub]]:
    opened = list[grpc.Channel]()

    def of(shell: ControllerShell) -> ControlServiceStub:
        opened.append(grpc.insecure_channel(str(shell.address)))
        return ControlServiceStub(opened[-1])

    yield of
    for channel in opened:
        channel.close()


@pytest.fixture
def agent_of(open_line: Callable) -> Callable[..., Any]:
    """An agent of n1 that offers these."""

    def of(shell: ControllerShell, *probes: pb.OfferedProbe, version: int = 2) -> Any:
        line = open_line(grpc.insecure_channel(str(shell.address)))
        line.hello("n1", version, 1, probes)
        assert line.hear().welcome.version == version
        return line

    return of


def answer(ask: pb.ProbeAsk, outcome: pb.ProbeOutcome, said: str = "", **more: object) -> pb.ProbeAnswer:
    return pb.ProbeAnswer(id=ask.id, name=ask.name, outcome=outcome, said=said, **more)


def lines(shell: ControllerShell, kind: str) -> list[pb.Action]:
    """The ledger's newest of this kind, as the newest picture shows them."""
    newest = shell.board.newest()
    return [line for line in newest.actions if line.kind == kind] if newest else []


def told(shell: ControllerShell, kind: str, said: str) -> None:
    wait_for(lambda: any(said in line.reason for line in lines(shell, kind)))


def test_a_job_that_says_it_writes_a_checkpoint_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = list[JobTold]()

    def noted(connect: Any, truth: Any, offer: Callable[[JobTold], bool], stop: Any) -> JobWords:
        return JobWords(connect, truth, lambda told: offer(told) and not taken.append(told), stop)

    monkeypatch.setattr(isolating, "JobWords", noted)

    def says(phase: JobPhase.ValueType) -> None:
        taken.clear()
        now_ns = time.time_ns()
        word = JobProgress(version=1, job_id=JOB.job, phase=phase, phase_since_unix_ns=now_ns, updated_unix_ns=now_ns)
        site.bus.producer().send(topics.PROGRESS, JOB.job, word.SerializeToString())
        wait_for(lambda: taken)

    with site.run() as shell:
        wait_for(lambda: (newest := shell.board.newest()) and not newest.isolation.scheduler_lost)
        says(JobPhase.JOB_PHASE_CHECKPOINT)
        site.say_two()
        told(shell, "hold", "job 7 is writing a checkpoint")
        assert site.scheduler.asked == ["drain n1"]
        says(JobPhase.JOB_PHASE_TRAINING)
        wait_for(lambda: site.scheduler.asked[:2] == ["drain n1", "requeue 7"])


def test_one_witness_and_a_test_that_fails_drain_an_idle_node_and_one_that_passes_gives_it_back(
    site: Site, agent_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuwarden.controller.isolation.moves.RECOVERY_S", 0.5)
    monkeypatch.setattr("gpuwarden.controller.isolation.moves.TEST_AGAIN_S", 0.5)
    monkeypatch.setattr("gpuwarden.controller.isolation.rails.cooldown.FIRST_S", 1.0)
    site.scheduler.end(JOB)
    with site.run() as shell:
        line = agent_of(shell, pb.OfferedProbe(name="other"), pb.OfferedProbe(name="matmul"))
        site.say("gpu_missing")
        ask = line.hear().probe
        assert (ask.id, ask.name) == ("probe/q1/0", "matmul")
        wait_for(lambda: state(shell) == "confirming")
        assert site.scheduler.asked == []
        figures = [Evidence(name="the slowest's pace", value=1.25, unit="TFLOP/s", expected=20.0)]
        line.answer(answer(ask, FAILED, "cuda:3: result 7 is wrong\x1b[2J", figures=figures, took_s=12.0))
        told(shell, "node", "matmul failed after 12 s: cuda:3: result 7 is wrong?[2J; the slowest's pace 1.25 TFLOP/s (expected 20)")
        wait_for(lambda: state(shell) == "repairing")
        site.say("gpu_missing", firing=False)
        ask = line.hear().probe
        assert (ask.id, ask.name) == ("probe/q1/2", "matmul")
        wait_for(lambda: state(shell) == "testing")
        line.answer(answer(ask, PASSED, "all right"))
        wait_for(lambda: site.scheduler.asked == ["drain n1", "resume n1"], 20)
    assert [kind for kind in site.kinds() if kind in ("probe", "drain", "resume")] == ["probe", "drain", "probe", "resume"]


@pytest.mark.parametrize(("outcome", "said"), [
    ("PASSED", "matmul passed: x"), ("IMPOSSIBLE", "matmul could not be run: x"), ("DEADLINE", "matmul was ended, it took too long: x"),
])  # fmt: skip
def test_what_did_not_fail_drains_nothing_and_is_noted(site: Site, agent_of: Callable, outcome: str, said: str) -> None:
    site.scheduler.end(JOB)
    with site.run() as shell:
        line = agent_of(shell, pb.OfferedProbe(name="matmul"))
        site.say("gpu_missing")
        line.answer(answer(line.hear().probe, pb.ProbeOutcome.Value(f"PROBE_OUTCOME_{outcome}"), "x"))
        told(shell, "node", said)
        wait_for(lambda: state(shell) == "suspect")
    assert site.scheduler.asked == []


def test_in_observe_a_test_would_have_been_asked_for(site: Site, agent_of: Callable) -> None:
    site.set("observe")
    site.scheduler.end(JOB)
    with site.run() as shell:
        line = agent_of(shell, pb.OfferedProbe(name="matmul"))
        site.say("gpu_missing")
        wait_for(lambda: [line.performed for line in lines(shell, "probe")] == [False])
        line.end()
        with pytest.raises(grpc.RpcError):
            line.hear()
        wait_for(lambda: state(shell) == "suspect")


def test_a_node_with_a_job_or_with_an_agent_of_the_release_before_is_not_tested(site: Site, agent_of: Callable) -> None:
    with site.run() as shell:
        agent_of(shell, pb.OfferedProbe(name="matmul"))
        site.say("gpu_missing")
        told(shell, "hold", "(spared_work)")
        agent_of(shell, pb.OfferedProbe(name="matmul"), version=1)
        wait_for(lambda: (shown := node(shell)) is not None and any("offers no test" in one for one in shown.held_back))
        wait_for(lambda: state(shell) == "suspect")
        agent_of(shell, pb.OfferedProbe(name="matmul", harmless=True))
        wait_for(lambda: state(shell) == "confirming")


def test_an_answer_is_heard_by_the_controller_that_comes_after_the_one_that_asked(site: Site, agent_of: Callable) -> None:
    """Asked once over both lives; the agent says its answer again on the new session."""
    site.scheduler.end(JOB)
    with site.run() as shell:
        line = agent_of(shell, pb.OfferedProbe(name="matmul"))
        site.say("gpu_missing")
        ask = line.hear().probe
        wait_for(lambda: lines(shell, "outcome"))
    with site.run() as shell:
        wait_for(lambda: state(shell) == "confirming")
        line = agent_of(shell, pb.OfferedProbe(name="matmul"))
        line.answer(answer(ask, FAILED, "wrong"))
        wait_for(lambda: site.scheduler.asked == ["drain n1"])
    assert site.kinds().count("probe") == 1


def test_a_test_has_power_set_aside_until_it_is_over_though_the_controller_is_restarted_meanwhile(site: Site, agent_of: Callable, control_of: Callable) -> None:
    site.scheduler.end(JOB)
    (domain,) = site.config.domains
    site.config = replace(site.config, domains=(replace(domain, policy="headroom"),))
    with site.run() as shell:
        line, control = agent_of(shell, pb.OfferedProbe(name="matmul", needs_w=600.0, deadline_s=60.0)), control_of(shell)
        site.say("gpu_missing")
        ask = line.hear().probe
        wait_for(lambda: floors(control))
        (floor,) = floors(control)
        assert (floor.job, list(floor.nodes), floor.floor_w, floor.actor) == ("gpuwarden probe/q1/0", ["n1"], 600.0, "isolation")
    with site.run() as shell:
        line, control = agent_of(shell, pb.OfferedProbe(name="matmul", needs_w=600.0, deadline_s=60.0)), control_of(shell)
        wait_for(lambda: state(shell) == "confirming" and floors(control))
        line.answer(answer(ask, PASSED))
        wait_for(lambda: not floors(control))
    assert [kind for kind in site.kinds() if kind in ("probe", "job-floor")] == ["probe", "job-floor", "job-floor"]


def floors(control: ControlServiceStub) -> list[pb.JobFloor]:
    return [floor for domain in control.ListPowerDomains(pb.ListPowerDomainsRequest()).domains for floor in domain.job_floors]


@pytest.mark.parametrize(("made", "field"), [
    (pb.ProbeAnswer(name="matmul", outcome=1), "probe.id"), (pb.ProbeAnswer(id="q", outcome=1), "probe.name"),
    (pb.ProbeAnswer(id="q", name="matmul"), "probe.outcome"), (pb.ProbeAnswer(id="q", name="m", outcome=9), "probe.outcome"),
    (pb.ProbeAnswer(id="q", name="m", outcome=1, figures=[Evidence()] * 17), "probe.figures"),
])  # fmt: skip
def test_an_answer_that_cannot_be_one_ends_the_session_with_the_field(
    site: Site, agent_of: Callable, refusal: Callable, made: pb.ProbeAnswer, field: str
) -> None:
    with site.run() as shell:
        line = agent_of(shell)
        line.answer(made)
        assert refusal(line.hear)[::2] == ("INVALID_ARGUMENT", field)


@pytest.mark.parametrize(("made", "field"), [
    ([pb.OfferedProbe(name="m")] * 65, "hello.probes"), ([pb.OfferedProbe()], "hello.probes.name"),
    ([pb.OfferedProbe(name="m", needs_w=float("nan"))], "hello.probes.needs_w"), ([pb.OfferedProbe(name="m", deadline_s=-1.0)], "hello.probes.deadline_s"),
])  # fmt: skip
def test_offers_that_cannot_be_are_refused_with_the_field(
    site: Site, open_line: Callable, refusal: Callable, made: list[pb.OfferedProbe], field: str
) -> None:
    with site.run() as shell:
        line = open_line(grpc.insecure_channel(str(shell.address)))
        line.hello("n1", 2, 1, made)
        assert refusal(line.hear)[::2] == ("INVALID_ARGUMENT", field)


def test_two_witnesses_drain_the_node_and_requeue_its_job_without_a_word_of_anybody(site: Site, tmp_path: Path) -> None:
    with site.run(tmp_path / "events") as shell:
        site.say_two()
        wait_for(lambda: site.scheduler.truth().jobs["7"].excluded == ("n1",))
        assert site.scheduler.truth().nodes["n1"].reason.startswith("gpuwarden:q1 ")
        wait_for(lambda: state(shell) == "repairing")
        wait_for(lambda: REGISTRY.get_sample_value("gpuwarden_isolation_nodes", {"state": "repairing"}) == 1)
        wait_for(lambda: {"drain", "requeue", "exclude"} <= {line.kind for line in shell.board.newest().actions})
    assert [kind for kind in site.kinds() if kind in ("drain", "requeue", "exclude")] == ["drain", "requeue", "exclude"]
    assert site.scheduler.asked == ["drain n1", "requeue 7"]
    (log,) = (tmp_path / "events").glob("isolation-*.jsonl")
    assert main(["replay", str(log)]) == 0, "it decides the same again"


def test_observe_which_is_the_default_writes_would_have_and_touches_nothing(site: Site) -> None:
    site.config = replace(site.config, isolation=IsolationConfig((GroupConfig("all", NODES),)))
    with site.run() as shell:
        site.say_two()
        wait_for(lambda: state(shell) == "draining" and node(shell).would_have)
        wait_for(lambda: any(line.kind == "requeue" for line in shell.board.newest().actions))
    assert site.scheduler.asked == []
    assert {"(drain)", "(requeue)"} <= set(site.kinds()) and not {"drain", "requeue"} & set(site.kinds())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("dies_at", ["before the drain", "after the drain", "before the requeue", "after the requeue"])
def test_a_controller_that_dies_around_an_order_drains_and_requeues_once(site: Site, dies_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dies: the order is done or not, nobody hears of it, and nothing is written from there on."""
    when, _, act = dies_at.partition(" the ")
    carried_out, died = Scheduling._carried_out, threading.Event()

    def mortal(edge: Scheduling, key: str, order: Callable) -> object:
        if not key.startswith(act):
            return carried_out(edge, key, order)
        if when == "after":
            carried_out(edge, key, order)
        death.setattr(Ledger, "append_and_remember", gone)
        died.set()
        raise SystemExit  # of this thread

    def gone(*arguments: object) -> None:
        raise sqlite3.OperationalError("it is dead")

    with monkeypatch.context() as death, site.run():
        death.setattr(Scheduling, "_carried_out", mortal)
        site.say_two()
        assert died.wait(10)
    monkeypatch.setattr("gpuwarden.controller.isolation.rails.one_effect.RETRY_S", 0.2)
    with site.run():
        wait_for(lambda: site.scheduler.truth().jobs["7"].excluded == ("n1",), 20)
    assert site.scheduler.asked == ["drain n1", "requeue 7"]
    assert site.scheduler.truth().jobs["7"].restarts == 1


def test_a_restart_goes_on_from_what_was_kept(site: Site) -> None:
    with site.run() as shell:
        site.say_two()
        wait_for(lambda: state(shell) == "repairing")
        before = node(shell)
    with site.run() as shell:
        wait_for(lambda: state(shell) == "repairing" and not shell.board.newest().isolation.scheduler_lost)
        assert (node(shell).quarantine, node(shell).since_unix_ns) == ("q1", before.since_unix_ns)
    assert site.scheduler.asked == ["drain n1", "requeue 7"]


def test_people_approve_cordon_uncordon_and_set_modes(site: Site, control_of: Callable, agent_of: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    site.set("approve")
    with site.run() as shell:
        control, server = control_of(shell), ["--server", str(shell.address)]
        wait_for(lambda: shell.board.newest())
        agent_of(shell, pb.OfferedProbe(name="matmul", harmless=True))
        site.say_two()
        drain, test = question_about(shell, "drain n1"), question_about(shell, "test n1")
        wait_for(lambda: any(drain in alert.title for alert in control.ListAlerts(pb.ListAlertsRequest()).alerts))
        assert main(["status", *server]) == 1
        assert f"next: gpuwarden approve {drain}" in capsys.readouterr().out
        assert main(["approve", drain, "--dry-run", *server]) == 0
        assert capsys.readouterr().out.startswith("would be: approved: drain n1 (q1)")
        assert main(["reject", test, "--json", *server]) == 0
        assert json.loads(capsys.readouterr().out)["done"]
        assert site.scheduler.asked == []
        assert main(["approve", drain, *server]) == 0
        wait_for(lambda: site.scheduler.asked == ["drain n1"])
        assert main(["approve", drain, *server]) == 1
        assert f"refused (FAILED_PRECONDITION): id: {drain} is approved already" in capsys.readouterr().err
        question_about(shell, "requeue job 7")
        assert main(["cordon", "n3", "--reason", "smells burnt", *server]) == 0
        wait_for(lambda: site.scheduler.truth().nodes["n3"].availability is Availability.DRAINED)
        wait_for(lambda: (seen := node(shell, "n3")) is not None and seen.state == "repairing")
        capsys.readouterr()
        assert main(["explain", "node", "n3", *server]) == 0
        said = capsys.readouterr().out
        assert "n3: repairing" in said and "ordered:   by operator at" in said and "modes:     all (n0, n1, n2, n3): isolation approve" in said
        assert main(["uncordon", "n3", *server]) == 0
        wait_for(lambda: site.scheduler.truth().nodes["n3"].availability is Availability.AVAILABLE)
        assert main(["mode", "all", "auto", "--class", "restart", *server]) == 0
        wait_for(lambda: shell.board.newest().isolation.groups[0].restart == MODE_AUTO)


def test_what_cannot_be_asked_is_refused_with_field_and_reason(site: Site, control_of: Callable, refusal: Callable) -> None:
    with site.run() as shell:
        control = control_of(shell)
        wait_for(lambda: shell.board.newest() and not shell.board.newest().isolation.scheduler_lost)
        for call, said in (
            (lambda: control.Cordon(pb.CordonRequest(node="n9; rm -rf /")), ("NOT_FOUND", "UNKNOWN_NODE", "node")),
            (lambda: control.Cordon(pb.CordonRequest(node="n" * 300)), ("INVALID_ARGUMENT", "TOO_LONG", "node")),
            (lambda: control.Approve(pb.ApproveRequest(id="a9")), ("NOT_FOUND", "UNKNOWN_QUESTION", "id")),
            (lambda: control.Uncordon(pb.UncordonRequest(node="n1")), ("FAILED_PRECONDITION", "NOT_OUT", "node")),
            (lambda: control.SetIsolationMode(pb.SetIsolationModeRequest(group="all", mode=MODE_AUTO)), ("INVALID_ARGUMENT", "BAD_CLASS", "action_class")),
        ):
            assert refusal(call)[:3] == said


def test_without_the_table_nothing_is_isolated_and_that_is_said(shell: ControllerShell, control: ControlServiceStub, refusal: Callable) -> None:
    wait_for(lambda: shell.board.newest())
    assert not control.GetIsolation(pb.GetIsolationRequest()).HasField("isolation")
    assert refusal(lambda: control.Cordon(pb.CordonRequest(node="n1")))[:2] == ("FAILED_PRECONDITION", "NO_ISOLATION")


def test_records_that_cannot_be_read_stop_isolation_and_not_power(site: Site) -> None:
    ledger = Ledger(site.config.ledger_file)
    ledger.append_and_remember([], {"case/n1": '{"record": "Case", "node": 3}'}, 0)
    ledger.close()
    with site.run() as shell:
        wait_for(lambda: shell.board.newest() and shell.board.newest().isolation.stopped)
        assert "what the ledger keeps of it cannot be read: record." in shell.board.newest().isolation.stopped
        wait_for(lambda: any(alert.title == "isolation has stopped" for alert in shell.board.newest().alerts))
        site.say_two()
        time.sleep(0.5)
        assert not shell.failed
    assert site.scheduler.asked == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("how", ["hangs", "ends"])
def test_power_goes_on_and_a_person_is_told_where_isolation_hangs_or_ends(
    site: Site, how: str, monkeypatch: pytest.MonkeyPatch, control_of: Callable, refusal: Callable
) -> None:
    release = threading.Event()

    def broken(desk: Desk, now_s: float, event: object) -> list:
        if not isinstance(event, FindingArrived):
            return step(desk, now_s, event)
        if how == "ends":
            raise AssertionError("a bug")
        release.wait(30)
        return []

    step = Desk.step
    monkeypatch.setattr(Desk, "step", broken)
    monkeypatch.setattr(isolating, "HUNG_S", 1.5)
    with site.run() as shell:
        wait_for(lambda: shell.board.newest() and shell.board.newest().isolation.unix_ns)
        site.say("gpu_missing")
        wait_for(lambda: shell.board.newest().isolation.stopped)
        title = "isolation hangs" if how == "hangs" else "isolation has stopped"
        wait_for(lambda: any(alert.title == title for alert in shell.board.newest().alerts))
        wait_for(lambda: shell.board.newest().cluster.firing_count == 1)
        assert refusal(lambda: control_of(shell).Cordon(pb.CordonRequest(node="n3")))[:2] == ("UNAVAILABLE", "STOPPED")
        assert not shell.failed
        if how == "hangs":
            release.set()
            wait_for(lambda: not shell.board.newest().isolation.stopped)
    assert site.scheduler.asked == []


def test_a_configuration_that_cannot_be_is_refused_with_its_field(tmp_path: Path) -> None:
    file = tmp_path / "controller.toml"
    head = f'ledger_file = "{tmp_path}/l"\nkeys_dir = "{tmp_path}"\n[[domains]]\nname = "r"\nrating_w = 9e9\n[[domains.classes]]\nname = "c"\nnodes = ["n1"]\n[isolation]\n'
    for wrong, said in (
        ('scheduler = "pbs"', "isolation.scheduler: is 'pbs', should be dry-run, kubernetes or slurm"),
        ('scheduler = "kubernetes"\nkubeconfig = "k"', "isolation.kubeconfig: is 'k', should be an absolute path"),
        ('checkpoints = "ckpt"', "isolation.checkpoints: is 'ckpt', should be an absolute path with {job} in it"),
        ('opt_out = ["n7"]', "isolation.opt_out: n7 in no power domain"),
        ('[[isolation.groups]]\nname = "g"\nnodes = ["n7"]', "isolation.groups[0].nodes: n7 in no power domain"),
        ('[[isolation.groups]]\nname = "g"\nnodes = ["n1"]\nrestart = "yes"', "restart: is 'yes', should be observe, notify, approve, auto"),
    ):
        file.write_text(head + wrong)
        with pytest.raises(Exception) as caught:
            load(file, ControllerConfig)
        assert said in str(caught.value)
