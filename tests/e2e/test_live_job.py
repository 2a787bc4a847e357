"""A real torchrun job on the CPU whose ranks are stopped and killed: the finding names the rank, all of it through Apache Kafka, and no record is lost.

Slow ranks, held locks and hours of sound running are in `bench/hang_live.py`: Python takes seconds of a core in each rank before it trains.
"""

import os
import signal
import time
from pathlib import Path

import pytest
from services import kafka
from services.live_job import firing, watching

from gpuwarden.proto.finding_pb2 import FindingState
from gpuwarden.proto.progress_pb2 import JobPhase


@pytest.mark.timeout(400)
def test_a_rank_that_stops_and_one_that_dies_are_named_and_no_record_is_lost(kafka_broker: kafka.Broker, tmp_path: Path) -> None:
    folder = tmp_path / "e2e-live"
    folder.mkdir()
    with watching(folder, kafka_broker.bootstrap) as watched, watched.job(4, tells=True) as job:
        assert watched.wait_for(lambda one: one.state == FindingState.FINDING_STATE_FIRING, 10.0) is None  # it trains, and its patience has begun
        began_s = job.fault("stop", 2)
        found = watched.wait_for(firing("rank_hang"), 60.0)
        assert found is not None and found[1].subject.id == "job-1/2" and found[1].subject.node == "e2e-live"
        assert "non-communication hang" in found[1].summary and "stalled" in found[1].summary
        print(f"stopped: named after {found[0] - began_s:.1f} s")
        os.kill(job.pids[2], signal.SIGCONT)
        over = watched.wait_for(lambda one: one.state == FindingState.FINDING_STATE_RESOLVED, 30.0)
        assert over is not None and over[1].id == found[1].id
        began_s = job.fault("kill", 1)
        dead = watched.wait_for(firing("rank_dead"), 60.0)
        assert dead is not None and dead[1].subject.id == "job-1/1", dead
        print(f"killed: named after {dead[0] - began_s:.1f} s")
        assert [one.kind for _, one in watched.said] == ["rank_hang", "rank_hang", "rank_dead"]
        job.launcher.wait(60)
        time.sleep(3.0)
        counts, scores = watched.counted(), [one for one in watched.scores() if one.job_id == "job-1"]
    heard, lost = counts["heard by the agent"], ("given up by ranks", "refused", "missed by the detector")
    assert heard == counts["on the topic"] == counts["judged by the detector"] > 100, counts
    assert {name: counts[name] for name in lost} == dict.fromkeys(lost, 0)
    steps = [one.step for one in scores]
    assert steps == sorted(steps) and steps[-1] > 30 and {one.phase for one in scores} >= {JobPhase.JOB_PHASE_TRAINING}, scores
    assert not [name for name in ("agent", "detector") if "Traceback" in (folder / f"{name}.log").read_text()]
