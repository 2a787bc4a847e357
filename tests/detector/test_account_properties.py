"""Whatever happens to agents, drivers, clocks and records: it adds up to what the cards drew, in whatever order it was recorded."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fakes.worked_node import WorkedNode
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.cli.jobs_text import as_json, lines
from gpuwarden.cli.plain_text import Ink
from gpuwarden.detector.account import Account, account
from gpuwarden.detector.account_read import METRICS
from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_file import MAX_NS
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.telemetry_pb2 import GpuProcess

PASS_S = 1.0
LEAST_W, MOST_W = 60.0, 700.0
JOBS = ("71", "72", "73")
WITHIN = 0.02


@dataclass
class Life:
    """Of one node: its records, what it drew between the first and the last of them, and what each job drew of that."""

    node: WorkedNode
    payloads: list[bytes] = field(default_factory=list)
    told_j: list[float] = field(default_factory=list)
    """What all cards had drawn at each record that came."""
    jobs_j: dict[str, float] = field(default_factory=lambda: dict.fromkeys(JOBS, 0.0))
    changes: int = 0
    """How often a card's jobs changed."""
    newest_ns: int = 0

    def tell(self) -> None:
        self.payloads.append(self.node.told())
        self.told_j.append(sum(self.node.drawn_j.values()))

    def work(self) -> None:
        for card, processes in self.node.jobs.items():
            for process in processes:
                self.jobs_j[process.job_id] += self.node.power_w[card] * PASS_S / len(processes)
        self.node.work(PASS_S)

    @property
    def drawn_j(self) -> float:
        return self.told_j[-1] - self.told_j[0]


Accident = Callable[[Life], None]


def nothing(life: Life) -> None:
    """A pass as any other."""


def lost_record(life: Life) -> None:
    life.node.told()
    life.work()


def no_agent(life: Life) -> None:
    for _ in range(5):
        life.work()
    life.node.restart()


def long_without_agent(life: Life) -> None:
    for _ in range(90):
        life.work()
    life.node.restart()


def reloaded_driver(life: Life) -> None:
    """Unless it was lately, or the clock is behind: then a pass's energy is lost that nobody can know of."""
    if min(life.node.counter_j.values()) > 1e6 and life.node.unix_ns > life.newest_ns:
        life.node.reload_driver()


def clock_set_back(life: Life) -> None:
    """Unless it has not caught up yet."""
    if life.node.unix_ns > life.newest_ns:
        life.newest_ns = life.node.unix_ns
        life.node.unix_ns -= 7 * 10**9


ACCIDENTS: tuple[Accident, ...] = (nothing, lost_record, no_agent, long_without_agent, reloaded_driver, clock_set_back)
QUIET_END = 10  # passes, after which a clock that was set back has caught up


@st.composite
def lives(draw: st.DrawFn, accidents: Sequence[Accident]) -> list[Life]:
    return [life(name, draw, accidents) for name in ("gpu01", "gpu02")[: draw(st.integers(1, 2))]]


def life(name: str, draw: st.DrawFn, accidents: Sequence[Accident]) -> Life:
    cards = draw(st.integers(1, 2))
    start_j = {card: draw(st.floats(2e6, 1e7)) for card in range(cards)}
    made = Life(WorkedNode(name, cards=cards, counter_j=start_j))
    happenings = draw(st.lists(st.sampled_from(accidents), min_size=5, max_size=25))
    for happens in [nothing, *happenings, *[nothing] * QUIET_END]:
        happens(made)
        changes = draw(st.lists(st.tuples(st.integers(0, cards - 1), st.sets(st.sampled_from(JOBS)), st.floats(LEAST_W, MOST_W)), max_size=1))
        for card, jobs, power_w in changes:
            made.node.run(card, *sorted(jobs))
            made.node.power_w[card] = power_w
            made.changes += 1
        if made.told_j:
            made.work()
        made.tell()
    return made


def recorded(folder: Path, lives_told: Sequence[Life], shuffle: random.Random | None = None) -> Account:
    """With `shuffle`: in another order, in other files, some of it twice."""
    recorder = Recorder(Parquet(folder))
    records = [(partition, payload) for partition, one in enumerate(lives_told) for payload in one.payloads]
    if shuffle is not None:
        records += shuffle.sample(records, len(records) // 3)
        shuffle.shuffle(records)
    for offset, (partition, payload) in enumerate(records):
        recorder.take(partition, offset, payload)
        if shuffle is not None and shuffle.random() < 0.02:
            recorder.flush()
    recorder.flush()
    return account(folder, 0, MAX_NS)


@settings(max_examples=30)
@given(lives(ACCIDENTS))
def test_jobs_and_nobody_add_up_to_what_the_cards_drew(lives_told: list[Life]) -> None:
    with TemporaryDirectory() as folder:
        made = recorded(Path(folder), lives_told)
    assert made.energy_j == pytest.approx(sum(one.drawn_j for one in lives_told), rel=WITHIN)
    assert abs(made.difference_ratio) < WITHIN


@settings(max_examples=30)
@given(lives([nothing, lost_record]))
def test_each_job_has_what_it_drew_but_for_the_passes_in_which_it_came_and_went(lives_told: list[Life]) -> None:
    with TemporaryDirectory() as folder:
        made = recorded(Path(folder), lives_told)
    found = {job.job_id: job.share.energy_j for job in made.jobs}
    for job in JOBS:
        truth_j = sum(one.jobs_j[job] for one in lives_told)
        changes = sum(one.changes for one in lives_told)
        assert found.get(job, 0.0) == pytest.approx(truth_j, rel=1e-6, abs=changes * 2 * PASS_S * MOST_W)
    assert made.energy_j == pytest.approx(sum(one.drawn_j for one in lives_told), rel=1e-4, abs=50.0)


@settings(max_examples=15)
@given(lives(ACCIDENTS), st.integers(0, 2**32))
def test_the_order_of_records_and_files_and_repeats_do_not_matter(lives_told: list[Life], seed: int) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        plain, mixed = recorded(Path(one), lives_told), recorded(Path(other), lives_told, random.Random(seed))
    assert (mixed.energy_j, mixed.counters_j) == pytest.approx((plain.energy_j, plain.counters_j))
    key = sorted((job.job_id, job.user, job.job_class) for job in plain.jobs)
    assert sorted((job.job_id, job.user, job.job_class) for job in mixed.jobs) == key
    energies = {job.job_id: job.share.energy_j for job in plain.jobs}
    assert {job.job_id: job.share.energy_j for job in mixed.jobs} == pytest.approx(energies)


ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=False)
ROWS = st.lists(st.lists(ANY_FLOAT, min_size=len(METRICS), max_size=len(METRICS)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(ROWS, st.lists(st.integers(0, MAX_NS), min_size=6, max_size=6), st.lists(st.sampled_from("ab"), min_size=6, max_size=6))
def test_whatever_an_agent_says_an_account_can_be_made_and_told(rows: list[list[float]], times_ns: list[int], starts: list[str]) -> None:
    with TemporaryDirectory() as folder:
        made = told_of(Path(folder), rows, times_ns, starts)
    assert json.dumps(as_json(made), allow_nan=False) and list(lines(made, Ink(False)))


def told_of(folder: Path, rows: list[list[float]], times_ns: list[int], starts: list[str]) -> Account:
    recorder = Recorder(Parquet(folder))
    for i, row in enumerate(rows):
        block = encode_block(Device.GPU, ["GPU-0"], [BY_NAME[name] for name in METRICS], [row])
        recorder.take(0, i, encode("n", starts[i], i + 1, times_ns[i], [block], [GpuProcess(gpu_id="GPU-0", job_id="71\0")]))
    recorder.flush()
    return account(folder, 0, MAX_NS)
