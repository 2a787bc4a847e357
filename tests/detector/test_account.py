"""Who had a card, and what it drew meanwhile: each rule of the accounting by itself."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types
import pytest
from fakes.worked_node import WorkedNode

from gpuwarden.detector import account_read
from gpuwarden.detector.account import Account, JobShare, account
from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_door import BadHistory
from gpuwarden.detector.history_file import MAX_NS
from gpuwarden.detector.history_parquet import Parquet

POWER_CAP = 4.0


def recorded(folder: Path, payloads: Sequence[bytes], partition: int = 0, first: int = 0) -> Account:
    recorder = Recorder(Parquet(folder))
    for offset, payload in enumerate(payloads, first):
        recorder.take(partition, offset, payload)
    recorder.flush()
    return account(folder, 0, MAX_NS)


def the_job(made: Account, job_id: str = "71") -> JobShare:
    (job,) = [job for job in made.jobs if job.job_id == job_id]
    return job


def test_a_job_has_what_its_cards_drew_and_an_idle_card_is_nobodys(tmp_path: Path) -> None:
    node = WorkedNode(cards=3, power_w={0: 600.0, 1: 300.0, 2: 70.0})
    node.run(0, "71")
    node.run(1, "71")
    made = recorded(tmp_path, node.passes(11))
    job = the_job(made)
    assert (job.user, job.job_class, job.share.gpus, job.share.gpu_s) == ("ada", "training", 2, 20.0)
    assert (job.share.energy_j, made.idle.energy_j) == (pytest.approx(9000.0), pytest.approx(700.0))
    assert (made.counters_j, made.difference_ratio, made.power_j, made.not_known.gpu_s) == (pytest.approx(9700.0), 0.0, 0.0, 0.0)
    assert (made.first_ns, made.last_ns, made.gpus) == (node.unix_ns - 10 * 10**9, node.unix_ns, 3)


def test_several_processes_of_a_job_have_a_card_once(tmp_path: Path) -> None:
    node = WorkedNode()
    node.run(0, "71", processes=5)
    share = the_job(recorded(tmp_path, node.passes(5))).share
    assert (share.gpus, share.gpu_s, share.energy_j) == (1, 4.0, pytest.approx(2000.0))


def test_two_jobs_on_one_card_have_half_each_and_the_card_is_counted_once(tmp_path: Path) -> None:
    node = WorkedNode()
    node.run(0, "71", "72", processes=2)
    made = recorded(tmp_path, node.passes(5))
    for job_id in ("71", "72"):
        share = the_job(made, job_id).share
        assert (share.gpus, share.gpu_s, share.energy_j, share.mean_w) == (1, 2.0, pytest.approx(1000.0), pytest.approx(500.0))


def test_one_id_of_two_users_is_two_jobs_and_processes_of_no_job_are_their_users(tmp_path: Path) -> None:
    node = WorkedNode(cards=3)
    node.run(0, "none", user="ada")
    node.run(1, "none", user="bo")
    node.run(2, "", user="eve")
    assert [(job.job_id, job.user) for job in recorded(tmp_path, node.passes(3)).jobs] == [("", "eve"), ("none", "ada"), ("none", "bo")]


def test_what_is_between_the_last_reading_of_one_job_and_the_first_of_the_next_is_shared(tmp_path: Path) -> None:
    node = WorkedNode()
    node.run(0, "71")
    payloads = node.passes(3)
    node.run(0, "72")
    made = recorded(tmp_path, payloads + node.passes(3))
    assert [the_job(made, job_id).share.gpu_s for job_id in ("71", "72")] == [2.5, 2.5]


def test_what_was_drawn_while_no_agent_ran_is_the_jobs_that_was_there_before_and_after(tmp_path: Path) -> None:
    node = WorkedNode()
    node.run(0, "71")
    payloads = node.passes(3)
    node.work(600.0)
    node.restart()
    made = recorded(tmp_path, payloads + node.passes(3))
    assert the_job(made).share.energy_j == pytest.approx(605 * 500.0) == pytest.approx(made.counters_j)
    assert (made.difference_ratio, made.power_j, made.not_known.gpu_s) == (pytest.approx(0.0), 0.0, 0.0)


@pytest.mark.parametrize("after", ["72", ""])
def test_of_a_long_gap_that_no_job_spans_nobody_is_known(tmp_path: Path, after: str) -> None:
    node = WorkedNode()
    if after:
        node.run(0, "71")
    payloads = node.passes(3)
    node.work(600.0)
    if after:
        node.run(0, after)
    made = recorded(tmp_path, payloads + node.passes(3))
    assert (made.not_known.gpu_s, made.not_known.energy_j) == (601.0, pytest.approx(601 * 500.0))
    assert made.difference_ratio == pytest.approx(0.0)


@pytest.mark.parametrize("also_restart", [False, True])
def test_after_a_driver_s_load_what_the_counter_shows_was_drawn_since(tmp_path: Path, also_restart: bool) -> None:
    node = WorkedNode(counter_j={0: 5e6})
    node.run(0, "71")
    payloads = node.passes(3)
    node.reload_driver()
    if also_restart:
        node.work(10.0)
        node.restart()
    made = recorded(tmp_path, payloads + node.passes(3))
    seconds = 15 if also_restart else 5
    assert (the_job(made).share.gpu_s, made.energy_j) == (seconds, pytest.approx(seconds * 500.0))
    assert made.counters_j == pytest.approx(made.energy_j)


def test_a_counter_that_only_seems_to_fall_for_its_rounding_was_not_reset(tmp_path: Path) -> None:
    """After a year at 700 W a float32 tells 2 kJ apart."""
    node = WorkedNode(counter_j={0: 2.2e10}, power_w={0: 1.0})
    payloads = node.passes(3)
    node.restart()
    node.counter_j[0] -= 3000.0
    assert recorded(tmp_path, payloads + node.passes(3)).energy_j == pytest.approx(4.0, abs=0.1)


def test_a_card_that_counts_no_energy_has_power_times_time_and_says_so(tmp_path: Path) -> None:
    node = WorkedNode(power_w={0: 400.0})
    node.counter_j.clear()
    node.run(0, "71")
    payloads = node.passes(11)
    node.work(100.0)
    made = recorded(tmp_path, payloads + node.passes(11))
    assert the_job(made).share.energy_j == pytest.approx(20 * 400.0) == made.power_j
    assert (made.counters_j, made.difference_ratio, made.unread_s) == (0.0, 0.0, 101.0)


def test_a_reading_without_the_counter_is_in_the_next_one(tmp_path: Path) -> None:
    node = WorkedNode()
    payloads = node.passes(3)
    kept = node.counter_j.pop(0)
    payloads += node.passes(2)
    node.counter_j[0] = kept + 1000.0
    made = recorded(tmp_path, payloads + node.passes(3))
    assert (made.energy_j, made.power_j) == (pytest.approx(7 * 500.0), 0.0)


def test_a_clock_that_was_set_back_counts_no_second_twice_and_no_joule_not_at_all(tmp_path: Path) -> None:
    node = WorkedNode()
    payloads = node.passes(30)
    node.unix_ns -= 10 * 10**9
    payloads += node.passes(5)
    node.restart()
    made = recorded(tmp_path, payloads + node.passes(30))
    assert (made.idle.gpu_s, made.energy_j) == (54.0, pytest.approx(64 * 500.0))
    assert made.difference_ratio == pytest.approx(0.0)


def test_records_from_before_the_clock_was_right_join_nothing_across_the_years(tmp_path: Path) -> None:
    node = WorkedNode(counter_j={0: 1e8}, unix_ns=10**15)
    payloads = node.passes(3)
    node.restart()
    node.unix_ns = 17 * 10**17
    made = recorded(tmp_path, payloads + node.passes(3))
    assert (made.energy_j, made.idle.gpu_s, made.not_known.gpu_s) == (pytest.approx(4 * 500.0), 4.0, 0.0)


def test_hours_that_nobody_recorded_within_one_start_are_counted_by_its_counter(tmp_path: Path) -> None:
    node = WorkedNode()
    node.run(0, "71")
    payloads = node.passes(3)
    node.passes(3 * 3600 // 60, seconds=60.0)  # which never came
    made = recorded(tmp_path, payloads + node.passes(2))
    assert the_job(made).share.energy_j == pytest.approx(10_804 * 500.0)


def test_of_weeks_that_nobody_recorded_the_counter_is_nobodys_and_no_time_is_counted(tmp_path: Path) -> None:
    node = WorkedNode()
    payloads = node.passes(3)
    node.passes(1, seconds=30 * 86_400.0)  # which never came
    made = recorded(tmp_path, payloads + node.passes(2))
    assert (made.not_known.energy_j, made.not_known.gpu_s) == (pytest.approx((30 * 86_400 + 1) * 500.0), 0.0)
    assert (made.idle.gpu_s, made.difference_ratio) == (3.0, pytest.approx(0.0, abs=1e-6))


def test_time_under_a_cap_and_held_back_by_it_are_told_apart(tmp_path: Path) -> None:
    node = WorkedNode(cards=2)
    node.run(0, "71")
    node.run(1, "71")
    payloads = node.passes(10)
    node.cap(420.0)
    payloads += node.passes(10)
    node.reasons = POWER_CAP
    share = the_job(recorded(tmp_path, payloads + node.passes(10))).share
    assert (share.gpu_s, share.capped_s, share.held_s) == (58.0, 39.0, 19.0)
    least, most = share.slowdown
    assert (least, most) == (pytest.approx(0.0066, abs=1e-4), pytest.approx(0.106, abs=1e-3))
    assert share.unmeasured_s == 0


def test_a_limit_at_the_default_costs_nothing_although_the_card_says_it_is_held_back(tmp_path: Path) -> None:
    node = WorkedNode(reasons=POWER_CAP)
    node.run(0, "71")
    node.cap(700.0)
    share = the_job(recorded(tmp_path, node.passes(10))).share
    assert (share.capped_s, share.held_s, share.slowdown) == (0.0, 0.0, (0.0, 0.0))


def test_of_a_card_that_does_not_say_what_holds_it_back_nothing_may_be_lost_or_all(tmp_path: Path) -> None:
    node = WorkedNode(reasons=None)
    node.run(0, "71")
    node.cap(350.0)
    share = the_job(recorded(tmp_path, node.passes(10))).share
    assert (share.held_s, share.slowdown) == (0.0, (0.0, pytest.approx(0.742)))


def test_the_most_is_of_the_card_that_lost_most_since_the_others_wait_for_it(tmp_path: Path) -> None:
    capped, free = WorkedNode("a", reasons=POWER_CAP), WorkedNode("b")
    capped.cap(350.0)
    for node in (capped, free):
        node.run(0, "71")
    share = the_job(recorded(tmp_path, capped.passes(10) + free.passes(10))).share
    assert share.slowdown == (pytest.approx(0.5 * (1 - 1 / 1.078) / (1 - 0.5 * (1 - 1 / 1.078))), pytest.approx(0.742))


def test_under_a_limit_where_nothing_was_measured_that_is_told(tmp_path: Path) -> None:
    node = WorkedNode(reasons=POWER_CAP)
    node.run(0, "71")
    node.cap(200.0)
    assert the_job(recorded(tmp_path, node.passes(10))).share.unmeasured_s == 9.0


def test_only_the_asked_time_is_accounted(tmp_path: Path) -> None:
    node = WorkedNode()
    recorded(tmp_path, node.passes(10))
    made = account(tmp_path, node.unix_ns - 5 * 10**9, node.unix_ns)
    assert (made.idle.gpu_s, made.energy_j) == (4.0, pytest.approx(2000.0))


def test_a_history_of_more_rows_than_fit_is_read_some_nodes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = []
    for name in "abcde":
        node = WorkedNode(name, cards=2)
        node.run(0, "71")
        payloads += node.passes(10)
    whole = recorded(tmp_path, payloads)
    monkeypatch.setattr(account_read, "MOST_ROWS", 45)
    sizes = [part.num_rows for part in account_read.parts(tmp_path, 0, MAX_NS, 45)]
    assert sizes == [40, 40, 20]
    assert the_job(account(tmp_path, 0, MAX_NS)).share == the_job(whole).share


def test_a_history_without_gpus_has_none(tmp_path: Path) -> None:
    assert account(tmp_path, 0, MAX_NS).gpus == 0


def rewritten(folder: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    (path,) = folder.glob("kind=gpu/*/*.parquet")
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop_columns(["sequence"]), r"{}: sequence: is there 0 times, should be once"),
        (lambda table: table.append_column("unix_ns", table["unix_ns"]), r"{}: unix_ns: is there 2 times, should be once"),
        (
            lambda table: table.set_column(0, "node", pa.array([1] * len(table))),
            r"{}: node: is of type int64, should be string",
        ),
        (lambda table: table.replace_schema_metadata({"gpuwarden_history": "2"}), r"{}: version: is 2, this reader knows 1"),
    ],
)
def test_a_file_of_another_form_is_named_with_field_and_reason(tmp_path: Path, change: Any, says: str) -> None:
    recorded(tmp_path, WorkedNode().passes(3))
    path = rewritten(tmp_path, change)
    with pytest.raises(BadHistory) as refused:
        account(tmp_path, 0, MAX_NS)
    assert str(refused.value) == says.format(path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    recorded(tmp_path, WorkedNode().passes(3))
    (path,) = tmp_path.glob("kind=gpu/*/*.parquet")
    path.write_text("node,power_w\n")
    with pytest.raises(BadHistory, match=rf"{path}: cannot be read as Parquet: "):
        account(tmp_path, 0, MAX_NS)


def test_a_file_that_is_damaged_inside_is_named(tmp_path: Path) -> None:
    recorded(tmp_path, WorkedNode().passes(30))
    (path,) = tmp_path.glob("kind=gpu/*/*.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 4) + whole[4 + len(whole) // 4 :])
    with pytest.raises(BadHistory, match=rf"{path}: cannot be read as Parquet: "):
        account(tmp_path, 0, MAX_NS)


def test_files_from_before_jobs_were_recorded_have_cards_of_nobody_known(tmp_path: Path) -> None:
    node = WorkedNode()
    node.run(0, "71")
    recorded(tmp_path, node.passes(3))
    rewritten(tmp_path, lambda table: table.drop_columns(["jobs", "gpu_energy_since_load_joules"]).replace_schema_metadata(None))
    made = account(tmp_path, 0, MAX_NS)
    assert (made.jobs, made.not_known.energy_j) == ((), pytest.approx(1000.0))
