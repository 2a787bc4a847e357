"""What isolation is told beside findings: which nodes a cap holds back, and how far jobs are by their checkpoints."""

import json
import os
import time
from pathlib import Path

from gpuwarden.controller.caps import Caps
from gpuwarden.controller.isolation.events import CapsSeen, JobTold
from gpuwarden.controller.progress import Progress
from gpuwarden.controller.schedulers.scheduler import JobTruth, Kind, Phase, Truth
from gpuwarden.proto.control_pb2 import Node, WatchResponse


def picture(enforced_w: float, *, age_s: float = 0.5, clock_hz: float = 0.0) -> WatchResponse:
    node = Node(name="n1", enforced_w=enforced_w, granted_w=2000.0, default_w=5600.0, report_age_s=age_s, clock_hz=clock_hz)
    return WatchResponse(nodes=[node])


def test_a_node_is_said_to_be_capped_by_what_is_in_force_once_and_when_it_changes() -> None:
    said, room = list[CapsSeen](), [True]

    def offer(event: CapsSeen) -> bool:
        if room[0]:
            said.append(event)
        return room[0]

    caps = Caps(offer)
    for age_s in (float("nan"), float("inf")):
        caps.look(picture(0.0, age_s=age_s))
    assert not said, "nothing was heard of it"
    for shown in (picture(5600.0), picture(5600.0), picture(4000.0)):
        caps.look(shown)
    assert said == [CapsSeen("n1", False), CapsSeen("n1", True)]
    room[0] = False
    caps.look(picture(5600.0))
    room[0] = True
    caps.look(picture(5600.0, clock_hz=1e9))
    caps.look(picture(5600.0))
    assert said[2:] == [CapsSeen("n1", False)], "what found no room is said again; locked clocks hold back as a cap does"


def checkpoint(folder: Path, step: int) -> None:
    """Plain files with their manifest."""
    place = folder / f"step-{step}"
    place.mkdir(parents=True)
    (place / "model").write_bytes(b"x" * 8)
    (place / "checkpoint.json").write_text(json.dumps({"version": 1, "step": step, "files": {"model": 8}}))


def test_each_complete_checkpoint_of_a_running_job_is_told_once(tmp_path: Path) -> None:
    told = list[JobTold]()
    jobs = {id: JobTruth(id, phase, Kind.BATCH, ("n1",), 1, 1, True) for id, phase in (("7", Phase.RUNNING), ("8", Phase.PENDING), ("../7", Phase.RUNNING))}
    checkpoint(tmp_path / "7", 5)
    checkpoint(tmp_path / "8", 5)
    progress = Progress(f"{tmp_path}/{{job}}", lambda: Truth({}, jobs), lambda event: told.append(event) or True, look_s=0.02)
    try:
        wait_for(told, 1)
        checkpoint(tmp_path / "7", 10)
        os.utime(tmp_path / "7" / "step-10", (time.time() + 5,) * 2)  # file systems' clocks are coarse
        wait_for(told, 2)
        time.sleep(0.2)
    finally:
        progress.close()
    assert [(one.job, one.restarts, one.step) for one in told] == [("7", 1, 5), ("7", 1, 10)]


def wait_for(told: list[JobTold], count: int) -> None:
    until_s = time.monotonic() + 10
    while len(told) < count:
        assert time.monotonic() < until_s, told
        time.sleep(0.02)
