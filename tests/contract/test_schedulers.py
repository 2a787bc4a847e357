"""One suite for every scheduler of jobs: the dry run, a real Slurm, and a real API server of Kubernetes. Then Slurm's own, and its tools failing."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract.scheduler_places import OURS, SLEEP, THEIRS, DryPlace, KubernetesPlace, Place, SlurmPlace
from services.kube_cluster import KubeCluster
from services.slurm import NODES
from services.slurm import Slurm as Cluster

from gpuwarden.controller.schedulers import KINDS
from gpuwarden.controller.schedulers.dry_run import DryRun
from gpuwarden.controller.schedulers.scheduler import (
    Availability,
    JobTruth,
    Kind,
    Phase,
    Refused,
    Unreachable,
)
from gpuwarden.controller.schedulers.slurm import Slurm


@pytest.fixture
def cluster(slurm_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A Slurm with nothing on it, which our own calls find."""
    slurm_cluster.end_everything()
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm_cluster.env[name])
    return slurm_cluster


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Place:
    """Of each kind that there is, the real one."""
    if request.param == "kubernetes":
        kube: KubeCluster = request.getfixturevalue("kube_cluster")
        return KubernetesPlace(KINDS[request.param](NODES, kube.kubeconfig), kube)
    scheduler = KINDS[request.param](NODES, "")
    if isinstance(scheduler, DryRun):
        return DryPlace(scheduler)
    return SlurmPlace(scheduler, request.getfixturevalue("cluster"))


def test_it_tells_what_it_holds(place: Place) -> None:
    job, waits, held = place.job_on("n1", "n3"), place.waiting_job(), ""
    truth = place.truth()
    assert {name: node.availability for name, node in truth.nodes.items()} == dict.fromkeys(NODES, Availability.AVAILABLE)
    assert {name: node.jobs for name, node in truth.nodes.items()} == {"n1": (job,), "n2": (), "n3": (job,), "n4": ()}
    assert truth.jobs[job] == JobTruth(job, Phase.RUNNING, Kind.BATCH, ("n1", "n3"), 0, 2, True, required=("n1", "n3"))
    assert truth.jobs[waits] == JobTruth(waits, Phase.PENDING, Kind.BATCH, (), 0, 2, True, ("n2",))
    held = place.waiting_job(held=True)
    assert place.truth().jobs[held].phase is Phase.HELD


def test_a_drained_node_is_draining_until_nothing_is_left_there(place: Place) -> None:
    job = place.job_on("n1")
    place.scheduler.drain("n1", OURS)
    node = place.truth().nodes["n1"]
    assert (node.availability, node.reason, node.jobs) == (Availability.DRAINING, OURS, (job,))
    assert place.truth().jobs[job].phase is Phase.RUNNING  # a drain ends nothing
    place.end(job)
    truth = place.until(lambda truth: truth.nodes["n1"].availability is Availability.DRAINED)
    assert (truth.nodes["n1"].reason, truth.nodes["n1"].jobs) == (OURS, ())


def test_draining_twice_is_draining_once(place: Place) -> None:
    place.scheduler.drain("n1", OURS)
    place.scheduler.drain("n1", OURS)
    assert place.truth().nodes["n1"].availability is Availability.DRAINED
    with pytest.raises(Refused, match="node: n1 is drained already"):
        place.scheduler.drain("n1", "gpuwarden: q8 another")
    assert place.truth().nodes["n1"].reason == OURS


def test_what_somebody_else_drained_stays_as_it_is(place: Place) -> None:
    place.somebody_drains("n2", THEIRS)
    with pytest.raises(Refused, match=f"node: n2 is drained already, for '{place.theirs}'"):
        place.scheduler.drain("n2", OURS)
    with pytest.raises(Refused, match=f"node: n2 is drained, for '{place.theirs}', not drained for"):
        place.scheduler.resume("n2", OURS)
    assert place.truth().nodes["n2"].reason == place.theirs


def test_only_the_same_reason_gives_a_node_back(place: Place) -> None:
    place.scheduler.drain("n1", OURS)
    with pytest.raises(Refused, match="node: n1 is drained"):
        place.scheduler.resume("n1", OURS + ".")
    place.scheduler.resume("n1", OURS)
    place.until(lambda truth: truth.nodes["n1"].availability is Availability.AVAILABLE)
    with pytest.raises(Refused, match="node: n1 is available"):
        place.scheduler.resume("n1", OURS)


def test_a_job_is_requeued_once_for_each_count_that_was_seen(place: Place) -> None:
    job = place.job_on("n1", "n2")
    with pytest.raises(Refused, match=f"job: {job} was started anew 0 times, not 1"):
        place.scheduler.requeue(job, 1)
    place.scheduler.requeue(job, 0)
    with pytest.raises(Refused, match=f"job: {job} was started anew 1 times, not 0"):
        place.scheduler.requeue(job, 0)
    truth = place.until(lambda truth: truth.jobs[job].phase is Phase.PENDING)
    assert truth.jobs[job] == JobTruth(job, Phase.PENDING, Kind.BATCH, (), 1, 2, True, required=("n1", "n2"))
    assert truth.nodes["n1"].jobs == ()
    with pytest.raises(Refused, match=f"job: {job} is pending, not running"):
        place.scheduler.requeue(job, 1)


def test_a_job_that_waits_is_kept_off_nodes_beside_those_that_it_was_kept_off(place: Place) -> None:
    job = place.waiting_job()
    place.scheduler.exclude(job, ["n3", "n2"])
    place.scheduler.exclude(job, ["n3"])
    assert set(place.truth().jobs[job].excluded) == {"n2", "n3"}
    running = place.job_on("n1")
    with pytest.raises(Refused, match=f"job: {running} is running, and does not wait"):
        place.scheduler.exclude(running, ["n3"])


def test_a_job_that_was_just_requeued_can_be_kept_off_a_node_at_once(place: Place) -> None:
    job = place.job_on("n1")
    place.scheduler.requeue(job, 0)
    place.scheduler.exclude(job, ["n2"])
    with pytest.raises(Refused, match=f"nodes: {job} asks for n1 by name, and would never start"):
        place.scheduler.exclude(job, ["n3", "n1"])
    assert place.until(lambda truth: truth.jobs[job].phase is Phase.PENDING).jobs[job].excluded == ("n2",)


def test_what_is_not_there_is_refused(place: Place) -> None:
    for ask in (
        lambda: place.scheduler.requeue("4711", 0),
        lambda: place.scheduler.exclude("4711", ["n1"]),
    ):
        with pytest.raises(Refused, match=r"job: .* knows of no 4711"):
            ask()
    for ask in (lambda: place.scheduler.drain("n9", OURS), lambda: place.scheduler.resume("n9", OURS)):
        with pytest.raises(Refused, match="node: n9 is not one of ours"):
            ask()
    job = place.waiting_job()
    with pytest.raises(Refused, match="node"):
        place.scheduler.exclude(job, ["n9"])


BAD_NODES = ("", "n1;reboot", "$(reboot)", "n[1-4]", "n1,n2", "all", "ALL", "-n", "n1\n", "ñ1", "n" * 64, "n1 State=DOWN")
BAD_JOBS = ("", "1;reboot", "1 2", "-1", "$(id)", "1,2", "1\n", "1=2")
BAD_REASONS = ("", " ours", "two\nlines", "a" * 201, "fänn", "bell\a")


def test_what_is_no_name_no_id_and_no_reason_reaches_nothing_and_is_told_by_its_field(place: Place) -> None:
    scheduler, before = place.scheduler, place.truth()
    for bad in BAD_NODES:
        for ask in (scheduler.drain, scheduler.resume):
            with pytest.raises(Refused, match=r"^node: "):
                ask(bad, OURS)
        with pytest.raises(Refused, match=r"^nodes\[1\]: "):
            scheduler.exclude("1", ["n1", bad])
    for bad in BAD_JOBS:
        with pytest.raises(Refused, match=r"^job: "):
            scheduler.requeue(bad, 0)
        with pytest.raises(Refused, match=r"^job: "):
            scheduler.exclude(bad, ["n1"])
    for bad in BAD_REASONS:
        for ask in (scheduler.drain, scheduler.resume):
            with pytest.raises(Refused, match=r"^reason: "):
                ask("n1", bad)
    for count in (0, 1001):
        with pytest.raises(Refused, match=f"^nodes: are {count}, should be 1 to 1000"):
            scheduler.exclude("1", [f"n{index}" for index in range(count)])
    assert place.truth() == before


# Slurm's own.


def test_kinds_and_phases_of_jobs_are_told_apart(cluster: Cluster) -> None:
    slurm = Slurm(NODES)
    place = SlurmPlace(slurm, cluster)
    suspended = place.job_on("n1")
    cluster.tool("scontrol", "suspend", suspended)
    array = cluster.submit(SLEEP, "--array=1-2", "--nodelist=n2")
    parts = cluster.tool("sbatch", "--parsable", "--nodelist=n2", "--wrap=exec sleep 600", "--output=/dev/null", ":", "--nodelist=n3")
    fixed = cluster.submit(SLEEP, "--no-requeue", "--nodelist=n3", "--nodes=1-2")
    cluster.tool("salloc", "--no-shell", "--nodelist=n4", "--job-name=somebody")
    somebody = cluster.tool("squeue", "--noheader", "--name=somebody", "--format=%A")
    place.until(lambda truth: len(truth.nodes["n2"].jobs) == 3 and truth.jobs[fixed].phase is Phase.RUNNING)
    jobs = slurm.truth().jobs
    assert (jobs[suspended].phase, jobs[suspended].nodes) == (Phase.SUSPENDED, ("n1",))
    assert sum(job.kind is Kind.ARRAY and job.nodes == ("n2",) for job in jobs.values()) == 2 and jobs[array].kind is Kind.ARRAY
    assert [job.nodes for job in jobs.values() if job.kind is Kind.HETEROGENEOUS] == [("n2",), ("n3",)]
    assert (jobs[fixed].requeueable, jobs[fixed].nodes_min, jobs[parts].kind) == (False, 1, Kind.HETEROGENEOUS)
    assert (jobs[somebody].kind, jobs[somebody].requeueable, jobs[somebody].nodes) == (Kind.INTERACTIVE, False, ("n4",))
    slurm.drain("n1", OURS)
    assert slurm.truth().nodes["n1"].availability is Availability.DRAINING  # sinfo calls it drained while the suspended one is there
    for job, why in ((suspended, "is suspended, not running"), (fixed, "may not be requeued"), (somebody, "is interactive and may not")):
        with pytest.raises(Refused, match=why):
            slurm.requeue(job, 0)
    part = str(int(parts) + 1)
    with pytest.raises(Refused, match="was not requeued: Job not heterogeneous job leader"):
        slurm.requeue(part, 0)


def test_a_node_is_not_drained_while_a_step_still_completes(cluster: Cluster) -> None:
    """It ignores SIGTERM, until it may end."""
    slurm = Slurm(NODES)
    place = SlurmPlace(slurm, cluster)
    job = cluster.submit("trap '' TERM; until [ -e may-end ]; do sleep 0.05; done", "--nodelist=n1")
    place.until(lambda truth: truth.jobs[job].phase is Phase.RUNNING)
    slurm.drain("n1", OURS)
    cluster.tool("scancel", job)
    truth = slurm.truth()
    assert (truth.jobs[job].phase, truth.nodes["n1"].availability) == (Phase.COMPLETING, Availability.DRAINING)
    (cluster.folder / "may-end").touch()
    while (truth := slurm.truth()).nodes["n1"].availability is Availability.DRAINING:
        pass
    assert (truth.jobs[job].phase, truth.nodes["n1"].availability) == (Phase.ENDED, Availability.DRAINED)


def test_a_node_that_is_down_is_told_so_and_left_to_those_who_know_why(cluster: Cluster) -> None:
    cluster.tool("scontrol", "update", "NodeName=n4", "State=DOWN", "Reason=PSU")
    slurm = Slurm(NODES)
    assert (slurm.truth().nodes["n4"].availability, slurm.truth().nodes["n4"].reason) == (Availability.DOWN, "PSU")
    with pytest.raises(Refused, match="node: n4 is down already, for 'PSU'"):
        slurm.drain("n4", OURS)
    cluster.tool("scontrol", "update", "NodeName=n4", "State=DRAIN", f"Reason={OURS}")
    slurm.drain("n4", OURS)  # as if it had gone down under our drain
    with pytest.raises(Refused, match="node: n4 is down"):
        slurm.resume("n4", OURS)


def test_nodes_that_are_not_ours_are_never_touched(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="node: n4 is not one of ours"):
        Slurm(NODES[:3]).drain("n4", OURS)
    assert Slurm(NODES[:3]).truth().nodes["n4"].availability is Availability.AVAILABLE


def test_a_slurm_that_hangs_is_given_up_and_one_that_is_gone_is_no_empty_cluster(cluster: Cluster) -> None:
    slurmctld = cluster.daemons["slurmctld"]
    slurmctld.send_signal(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        with pytest.raises(Unreachable, match=r"sinfo: no answer within 0.5 s"):
            Slurm(NODES, call_s=0.5).truth()
        assert time.monotonic() - began_s < 2.0
        with pytest.raises(Unreachable, match=r"sinfo: .*error"):
            Slurm(NODES, call_s=15.0).truth()
    finally:
        slurmctld.send_signal(signal.SIGCONT)
    assert set(Slurm(NODES).truth().nodes) == set(NODES)


# Its tools, failing.


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Puts a program of this name, with these lines of shell, where ours is looked for first."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    yield put


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sleep 60", "scontrol: no answer within 0.5 s"),
        ("sleep 60 & exit 0", "scontrol: no answer within 0.5 s"),  # the one who holds the pipe is another
        ("while :; do echo yes; sleep 0.1; done", "scontrol: no answer within 0.5 s"),
        ("exec 1>&- 2>&-; sleep 60", "scontrol: has said all and does not end"),
        ("echo 'slurm_update error: Socket timed out on send/recv operation' >&2; exit 1", "scontrol: slurm_update error: Socket timed out"),
    ],
)
def test_an_order_of_which_nobody_knows_what_came_is_told_so(cluster: Cluster, fake: Callable[[str, str], None], script: str, says: str) -> None:
    fake("scontrol", script)
    began_s = time.monotonic()
    with pytest.raises(Unreachable, match=says):
        Slurm(NODES, call_s=0.5).drain("n1", OURS)
    assert time.monotonic() - began_s < 3.0


def test_one_that_says_yes_and_does_nothing_is_found_out(cluster: Cluster, fake: Callable[[str, str], None]) -> None:
    place = SlurmPlace(Slurm(NODES), cluster)
    job, waits = place.job_on("n1"), place.waiting_job()
    fake("scontrol", "echo done")
    for ask in (
        lambda: place.scheduler.drain("n1", OURS),
        lambda: place.scheduler.requeue(job, 0),
        lambda: place.scheduler.exclude(waits, ["n1"]),
    ):
        with pytest.raises(Refused):
            ask()


GOOD = {"meta": {"plugin": {"type": "openapi/v0.0.38"}}, "errors": []}
NODE = {"name": "n1", "state": "idle", "state_flags": [], "alloc_cpus": 0, "reason": ""}
JOB = {
    "job_id": 1, "job_state": "RUNNING", "priority": 1, "batch_flag": True, "het_job_id": 0, "array_job_id": 0, "nodes": "n1",
    "restart_cnt": 0, "tres_req_str": "cpu=1,node=1", "node_count": 1, "requeue": True, "excluded_nodes": "", "required_nodes": "",
}  # fmt: skip


def printed(key: str, *rows: object, **more: object) -> str:
    return json.dumps({**GOOD, key: list(rows), **more})


@pytest.mark.parametrize(
    ("tool", "said", "says"),
    [
        ("sinfo", "garbage", "sinfo: does not print JSON, but 'garbage"),
        ("sinfo", "[" * 5000, "sinfo: "),
        ("sinfo", "[]", "sinfo.errors: is 'None', should be list"),
        ("sinfo", printed("nodes", NODE, errors=[{"error": "Unable to contact"}]), "sinfo: .*Unable to contact"),
        ("sinfo", printed("nodes", NODE, meta={"plugin": {"type": "data_parser/v0.0.40"}}), "is 'data_parser/v0.0.40', should be openapi"),
        ("sinfo", printed("nodes"), "sinfo: nodes: are none"),
        ("sinfo", printed("nodes", {**NODE, "state": 5}), r"sinfo: nodes\[0\].state: is '5', should be str"),
        ("sinfo", printed("nodes", "n1"), r"sinfo: nodes\[0\].name"),
        ("squeue", printed("nodes"), "squeue.jobs: is 'None', should be list"),
        ("squeue", printed("jobs", JOB, {**JOB, "restart_cnt": True}), r"squeue: jobs\[1\].restart_cnt: is 'True', should be int"),
        ("squeue", printed("jobs", {**JOB, "job_state": "ASLEEP"}), r"squeue: jobs\[0\].job_state: is 'ASLEEP', which is not known"),
        ("squeue", printed("jobs", {**JOB, "nodes": "n[3-1]"}), r"squeue: jobs\[0\].nodes: 'n\[3-1\]': a range goes upwards"),
        ("squeue", printed("jobs", {**JOB, "nodes": "a[1-9999]b[1-9999]"}), r"squeue: jobs\[0\].nodes: .* more than 10000"),
    ],
)
def test_half_of_a_truth_is_none(fake: Callable[[str, str], None], tmp_path: Path, tool: str, said: str, says: str) -> None:
    for name, good in (("sinfo", printed("nodes", NODE)), ("squeue", printed("jobs", JOB))):
        (tmp_path / f"{name}.json").write_text(said if name == tool else good)
        fake(name, f"cat {tmp_path / name}.json")
    with pytest.raises(Unreachable, match=says):
        Slurm(NODES).truth()


@pytest.mark.parametrize(
    ("node", "availability"),
    [
        ({"state_flags": ["DRAIN"], "reason": "x"}, Availability.DRAINED),
        ({"state_flags": ["DRAIN", "COMPLETING"], "reason": "x"}, Availability.DRAINING),  # squeue, asked later, no longer knows of it
        ({"state_flags": ["DRAIN"], "reason": "x", "alloc_cpus": 2}, Availability.DRAINING),
        ({"state_flags": ["FAIL"], "reason": "x"}, Availability.DRAINED),
        ({"state": "down", "state_flags": ["DRAIN"], "reason": "x"}, Availability.DOWN),
        ({"reason": "left there"}, Availability.AVAILABLE),
    ],
)
def test_what_the_failing_tools_above_print_otherwise_is_a_truth(
    fake: Callable[[str, str], None], node: dict[str, object], availability: Availability
) -> None:
    fake("sinfo", f"echo '{printed('nodes', {**NODE, **node}, {**NODE, 'name': 'n2'})}'")
    fake("squeue", f"echo '{printed('jobs', {**JOB, 'nodes': 'n2'})}'")
    nodes = Slurm(NODES).truth().nodes
    assert (nodes["n1"].availability, nodes["n1"].reason) == (availability, "" if availability is Availability.AVAILABLE else "x")
    assert nodes["n2"].jobs == ("1",)


def test_a_tool_that_never_ends_to_print_and_one_that_is_not_there(
    fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake("sinfo", "exec cat /dev/zero")
    with pytest.raises(Unreachable, match=r"sinfo: says more than|sinfo: no answer"):
        Slurm(NODES, call_s=2.0).truth()
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(Unreachable, match=r"sinfo: cannot be started: No such file"):
        Slurm(NODES).truth()
