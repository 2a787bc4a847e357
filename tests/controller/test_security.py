"""Mutual TLS on the control path: who is let in, who may do what, and that certificates change without a restart."""

import queue
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.limiters import KEY, Limiter
from fakes.site import Site, cluster, failing, wait_for_cluster

from gpuwarden.agent.events import ControllerLink, Event
from gpuwarden.agent.session import ControllerSession
from gpuwarden.cli.main import main
from gpuwarden.controller.access import LEAST, TRUST_DOMAIN, Role
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.main import ControllerShell
from gpuwarden.core.address import Address
from gpuwarden.core.channel import open_channel
from gpuwarden.core.config import ConfigError
from gpuwarden.core.tls import CA, CERTIFICATE, LOOK_S, Rotating, read_tls
from gpuwarden.core.tls import KEY as KEY_FILE
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.lease_pb2 import Mode

Refusal = Callable[[Callable[[], object]], tuple[str, str, str, str]]
NODES = ("n0", "n1", "n2", "n3")


# Who is let in.


def test_every_method_of_both_services_has_a_least_role() -> None:
    methods = [method.name for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods]
    assert sorted(LEAST) == sorted(methods)


def test_without_a_certificate_nobody_gets_in(secured: ControllerShell, site: Site) -> None:
    credentials = grpc.ssl_channel_credentials((site.controller() / CA).read_bytes())
    with grpc.secure_channel(str(secured.address), credentials) as channel:
        assert failing(lambda: cluster(channel)) is grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(str(secured.address)) as channel:
        assert failing(lambda: cluster(channel)) is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_of_another_authority_does_not_get_in(secured: ControllerShell, site: Site, tmp_path: Path) -> None:
    theirs = Site(tmp_path / "other").holder("admin")
    shutil.copy(site.controller() / CA, theirs / CA)
    with open_channel(secured.address, theirs) as channel:
        assert failing(lambda: cluster(channel)) is grpc.StatusCode.UNAVAILABLE


def test_a_client_does_not_talk_to_a_controller_of_another_authority(secured: ControllerShell, tmp_path: Path) -> None:
    with open_channel(secured.address, Site(tmp_path / "other").holder("admin")) as channel:
        assert failing(lambda: cluster(channel)) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("server", ["agent-n0", "controller-127.0.0.1"])
def test_a_nodes_certificate_cannot_pose_as_the_controller(controller_config: ControllerConfig, tmp_path: Path, server: str) -> None:
    """As the command makes it: it is a server's too, of the node's metrics page, so only the name tells."""
    out = tmp_path / "ca"
    assert main(["config", "certs", "--out", str(out), "--controller", "127.0.0.1", "--node", "n0", "n1", "--admin", "root"]) == 0
    assert b"DNS:n0" in subprocess.run(
        ["openssl", "x509", "-in", out / "agent-n0" / CERTIFICATE, "-noout", "-ext", "subjectAltName"], capture_output=True, check=True
    ).stdout
    told: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with (
        ControllerShell(replace(controller_config, tls_dir=out / server), dict.fromkeys(NODES, KEY)) as posing,
        open_channel(posing.address, out / "admin-root") as channel,
    ):
        session = ControllerSession(posing.address, out / "agent-n1", "n1", told.put)
        link = told.get(timeout=10.0)
        session.close()
        assert isinstance(link, ControllerLink) and link.up == (server != "agent-n0")
        if link.up:
            assert wait_for_cluster(channel).node_count == len(NODES)
        else:
            assert failing(lambda: cluster(channel)) is grpc.StatusCode.UNAVAILABLE


def test_an_expired_certificate_does_not_get_in(dial: Callable[[Path], grpc.Channel], site: Site) -> None:
    assert failing(lambda: cluster(dial(site.holder("viewer", "late", days=-1.0)))) is grpc.StatusCode.UNAVAILABLE
    assert wait_for_cluster(dial(site.holder("viewer", "in-time"))).node_count == len(NODES)


# Who may do what.

CHANGES: dict[str, Callable[[ControlServiceStub], object]] = {
    "SetBudget": lambda stub: stub.SetBudget(pb.SetBudgetRequest(domain="row-a", budget_w=50e3), timeout=5),
    "SetMode": lambda stub: stub.SetMode(pb.SetModeRequest(domain="row-a", mode=Mode.MODE_AUTO), timeout=5),
    "SetMode forced": lambda stub: stub.SetMode(pb.SetModeRequest(domain="row-a", mode=Mode.MODE_OBSERVE, force=True), timeout=5),
    "SetJobFloor": lambda stub: stub.SetJobFloor(pb.SetJobFloorRequest(job="1", nodes=["none"], floor_w=300, duration_s=60), timeout=5),
    "EndJobFloor": lambda stub: stub.EndJobFloor(pb.EndJobFloorRequest(job="none"), timeout=5),
    "AcknowledgeAlert": lambda stub: stub.AcknowledgeAlert(pb.AcknowledgeAlertRequest(key="none"), timeout=5),
    "OpenMaintenance": lambda stub: stub.OpenMaintenance(pb.OpenMaintenanceRequest(nodes=["n3"], duration_s=60, reason="fans"), timeout=5),
    "EndMaintenance": lambda stub: stub.EndMaintenance(pb.EndMaintenanceRequest(id="none"), timeout=5),
    "ReportMeter": lambda stub: stub.ReportMeter(pb.ReportMeterRequest(domain="row-a", limit="none", power_w=9e3), timeout=5),
    "Approve": lambda stub: stub.Approve(pb.ApproveRequest(id="a1"), timeout=5),
    "Reject": lambda stub: stub.Reject(pb.RejectRequest(id="a1"), timeout=5),
    "Cordon": lambda stub: stub.Cordon(pb.CordonRequest(node="n3"), timeout=5),
    "Uncordon": lambda stub: stub.Uncordon(pb.UncordonRequest(node="n3"), timeout=5),
    "SetIsolationMode": lambda stub: stub.SetIsolationMode(
        pb.SetIsolationModeRequest(group="all", action_class=pb.ACTION_CLASS_RESTART, mode=Mode.MODE_AUTO), timeout=5),
}
READS: dict[str, Callable[[ControlServiceStub], object]] = {
    "GetCluster": lambda stub: stub.GetCluster(pb.GetClusterRequest(), timeout=5),
    "ListNodes": lambda stub: stub.ListNodes(pb.ListNodesRequest(), timeout=5),
    "ListFindings": lambda stub: stub.ListFindings(pb.ListFindingsRequest(), timeout=5),
    "ListActions": lambda stub: stub.ListActions(pb.ListActionsRequest(), timeout=5),
    "ListPowerDomains": lambda stub: stub.ListPowerDomains(pb.ListPowerDomainsRequest(), timeout=5),
    "ListAlerts": lambda stub: stub.ListAlerts(pb.ListAlertsRequest(), timeout=5),
    "GetIsolation": lambda stub: stub.GetIsolation(pb.GetIsolationRequest(), timeout=5),
    "Watch": lambda stub: next(iter(stub.Watch(pb.WatchRequest(), timeout=5))),
}
ABSENT = ("SetJobFloor", "EndJobFloor", "AcknowledgeAlert", "EndMaintenance", "ReportMeter")  # of what is not there
UNWIRED = ("Approve", "Reject", "Cordon", "Uncordon", "SetIsolationMode")  # of a controller that isolates nothing


def test_every_method_for_people_is_tried_in_every_role() -> None:
    assert {method.split()[0] for method in (*READS, *CHANGES)} == set(LEAST) - {"Session"}


@pytest.mark.parametrize("role", ["agent", "viewer", "operator", "admin"])
def test_each_role_may_do_what_it_is_for_and_no_more(
    role: str, dial: Callable[[Path], grpc.Channel], site: Site, refusal: Refusal
) -> None:
    name = "n0" if role == "agent" else "alice"
    stub = ControlServiceStub(dial(site.holder(role, name)))
    wait_for_cluster(dial(site.holder("viewer")))
    for method, call in {**READS, **CHANGES}.items():
        least = Role.ADMIN if "forced" in method else LEAST[method]
        if role != "agent" and Role[role.upper()] >= least:
            if method in ABSENT or method in UNWIRED:
                status = grpc.StatusCode.NOT_FOUND if method in ABSENT else grpc.StatusCode.FAILED_PRECONDITION
                assert failing(lambda call=call: call(stub)) is status  # type: ignore[misc]  # binds now
            else:
                call(stub)
            continue
        code, reason, _, message = refusal(lambda call=call: call(stub))  # type: ignore[misc]  # binds now
        assert (code, reason) == ("PERMISSION_DENIED", "ROLE_TOO_LOW")
        assert f"{role} {name} may not call {method.split()[0]}" in message


def test_a_certificate_without_a_role_may_do_nothing(dial: Callable[[Path], grpc.Channel], site: Site, refusal: Refusal) -> None:
    for uri in ("spiffe://elsewhere/admin/eve", TRUST_DOMAIN + "emperor/eve", TRUST_DOMAIN + "admin/"):
        channel = dial(site.authority.leaf("odd", "eve", uri, (), 1.0))
        assert refusal(lambda channel=channel: cluster(channel))[:2] == ("PERMISSION_DENIED", "NO_ROLE")  # type: ignore[misc]  # binds now


def test_the_ledger_names_who_asked_as_the_certificate_does(dial: Callable[[Path], grpc.Channel], site: Site) -> None:
    stub = ControlServiceStub(dial(site.holder("operator", "alice")))
    CHANGES["SetBudget"](stub)
    (line,) = [action for action in stub.ListActions(pb.ListActionsRequest(), timeout=5).actions if action.kind == "budget"]
    assert line.actor == "operator alice"


def test_an_agent_speaks_for_its_own_node_only(
    dial: Callable[[Path], grpc.Channel], site: Site, open_line: Callable[[grpc.Channel], Any], refusal: Refusal
) -> None:
    channel = dial(site.holder("agent", "n0"))
    own, other = open_line(channel), open_line(channel)
    own.hello("n0")
    assert own.hear().WhichOneof("message") == "welcome"
    other.hello("n1")
    code, reason, field, message = refusal(other.hear)
    assert (code, reason, field) == ("PERMISSION_DENIED", "OTHER_NODE", "hello.node")
    assert "'n1'" in message and "'n0'" in message


def test_people_hold_no_sessions(
    dial: Callable[[Path], grpc.Channel], site: Site, open_line: Callable[[grpc.Channel], Any], refusal: Refusal
) -> None:
    line = open_line(dial(site.holder("admin", "n0")))
    line.hello("n0")
    assert refusal(line.hear)[:2] == ("PERMISSION_DENIED", "ROLE_TOO_LOW")


# Certificates change without a restart.


def test_new_handshakes_use_new_files_and_open_sessions_go_on(
    secured: ControllerShell, site: Site, tmp_path: Path, open_line: Callable[[grpc.Channel], Any]
) -> None:
    with ExitStack() as opened:
        old = opened.enter_context(open_channel(secured.address, site.holder("agent", "n0")))
        line = open_line(old)
        line.hello("n0")
        line.hear()
        theirs = Site(tmp_path / "next")
        shutil.copytree(theirs.controller(), tmp_path / "tls", dirs_exist_ok=True)
        time.sleep(LOOK_S + 0.1)
        new = opened.enter_context(open_channel(secured.address, theirs.holder("viewer")))
        assert wait_for_cluster(new).node_count == len(NODES)
        refused = opened.enter_context(open_channel(secured.address, site.holder("viewer")))
        assert failing(lambda: cluster(refused)) is grpc.StatusCode.UNAVAILABLE
        line.report(Limiter("n0").report(time.monotonic()))
        assert line.hear().WhichOneof("message") == "grant"


def test_files_that_do_not_fit_are_said_once_and_the_old_ones_serve(
    secured: ControllerShell, site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tls" / CERTIFICATE).write_text("half a certif")
    for _ in range(3):
        time.sleep(LOOK_S + 0.1)
        with open_channel(secured.address, site.holder("viewer")) as channel:
            assert wait_for_cluster(channel).node_count == len(NODES)
    assert len([r for r in caplog.records if "stays in use" in r.getMessage()]) == 1


def test_an_agents_new_certificate_is_used_by_its_next_session(secured: ControllerShell, site: Site, tmp_path: Path) -> None:
    tls_dir = shutil.copytree(site.holder("agent", "n0", days=-1.0), tmp_path / "agent")
    told: queue.SimpleQueue[Event] = queue.SimpleQueue()
    session = ControllerSession(secured.address, tls_dir, "n0", told.put)
    try:
        assert told.get(timeout=10.0) != ControllerLink(True, version=2)
        shutil.copytree(site.holder("agent", "n0"), tls_dir, dirs_exist_ok=True)
        end_s = time.monotonic() + 10.0
        while told.get(timeout=end_s - time.monotonic()) != ControllerLink(True, version=2):
            pass
    finally:
        session.close()


# What a folder must hold.


def test_a_key_that_others_may_read_is_refused(site: Site, tmp_path: Path) -> None:
    folder = shutil.copytree(site.controller(), tmp_path / "open")
    (folder / KEY_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match=r"tls\.key: others may read it; chmod 600"):
        read_tls(folder)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (CA, "", r"ca\.crt: holds no certificate"),
        (CERTIFICATE, "nonsense", r"tls\.crt, tls\.key: are no certificate with its key"),
        (KEY_FILE, "-----BEGIN PRIVATE KEY-----\n", r"tls\.crt, tls\.key: are no certificate with its key"),
        (KEY_FILE, None, r"tls\.key: No such file"),
    ],
)
def test_a_folder_that_is_not_sound_is_refused_by_file(site: Site, tmp_path: Path, name: str, content: str | None, reason: str) -> None:
    folder = shutil.copytree(site.controller(), tmp_path / "bad")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=reason):
        Rotating(folder)


def test_a_key_that_does_not_belong_to_the_certificate_is_refused(site: Site, tmp_path: Path) -> None:
    folder = shutil.copytree(site.controller(), tmp_path / "mixed")
    shutil.copy(site.holder("viewer") / KEY_FILE, folder / KEY_FILE)
    with pytest.raises(ConfigError, match="are no certificate with its key"):
        read_tls(folder)


def test_the_key_is_in_no_representation(site: Site) -> None:
    pem = read_tls(site.controller())
    assert pem.key.decode() not in repr(pem) and "PRIVATE" not in repr(pem)


# Whoever misbehaves leaves the others served.


def test_malformed_hellos_idle_connections_and_huge_messages_leave_the_others_served(
    controller_config: ControllerConfig,
    secured: ControllerShell,
    site: Site,
    dial: Callable[[Path], grpc.Channel],
    open_line: Callable[[grpc.Channel], Any],
) -> None:
    agent, operator = open_line(dial(site.holder("agent", "n0"))), dial(site.holder("operator", "alice"))
    agent.hello("n0")
    agent.hear()
    wait_for_cluster(operator)
    with ExitStack() as opened:
        for number in range(1000):
            idle = opened.enter_context(socket.create_connection((secured.address.host, secured.address.port), timeout=5.0))
            if number % 2:
                idle.sendall(b"\x16\x03\x01\xff\xff" + bytes(200))
        huge = open_line(dial(site.holder("agent", "n1")))
        huge.hello("n1" * 50_000_000)
        limiter, waits_s = Limiter("n0"), []
        for _ in range(10):
            began_s = time.monotonic()
            agent.report(limiter.report(began_s))
            assert agent.hear().WhichOneof("message") == "grant"
            assert cluster(operator).node_count == len(NODES)
            waits_s.append(time.monotonic() - began_s)
        assert failing(huge.hear) is grpc.StatusCode.RESOURCE_EXHAUSTED
    print(f"report to grant and a read beside 1,000 idle connections and 100 MB: at most {1e3 * max(waits_s):.0f} ms")
    assert max(waits_s) < controller_config.lease_s, "no lease lapses; attackers, controller and clients share this process"


def test_clear_text_beyond_loopback_is_refused_on_both_sides(controller_config: ControllerConfig) -> None:
    with pytest.raises(ConfigError, match="beyond loopback"):
        open_channel(Address("10.0.0.1", 7443), None)
    problems = list(replace(controller_config, listen=Address("0.0.0.0", 7443)).problems())
    assert problems == ["listen: is 0.0.0.0:7443, should be a loopback address such as 127.0.0.1 where there is no tls_dir"]


def test_the_command_shows_its_certificate_and_says_what_to_do_without_one(
    secured: ControllerShell, site: Site, capsys: pytest.CaptureFixture[str], dial: Callable[[Path], grpc.Channel]
) -> None:
    wait_for_cluster(dial(site.holder("viewer")))
    asked = ["budget", "row-a", "55000", "--dry-run", "--server", str(secured.address)]
    assert main([*asked, "--tls", str(site.holder("operator", "alice"))]) == 0
    assert main([*asked, "--tls", str(site.holder("viewer", "bob"))]) == 1
    assert "viewer bob may not call SetBudget: that is for operators" in capsys.readouterr().err
    assert main([*asked, "--tls", str(site.holder("operator", "late", days=-1.0))]) == 1
    assert "--tls" in capsys.readouterr().err
