"""A power log is read whole or refused with its line and column; what is missing in it is counted."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from gpuwarden.sim.powerlog import BadPowerLog, RecordedLoad, read

GOOD = "node,time_s,power_w\nb,10,3000\na,10,5000\na,12,6000\nb,12,3100\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "row.csv"
    path.write_text(text)
    return path


def test_rows_come_in_order_of_time_whatever_their_order_in_the_file(tmp_path: Path) -> None:
    log = read(written(tmp_path, GOOD))
    assert log.nodes == ("a", "b")
    assert log.time_s.tolist() == [0, 0, 2, 2]
    assert log.power_w.tolist() == [5000, 3000, 6000, 3100]


def test_a_compressed_log_is_the_same_log(tmp_path: Path) -> None:
    path = tmp_path / "row.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert read(path).power_w.tolist() == read(written(tmp_path, GOOD)).power_w.tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1: the column node is missing"),
        ("node,time_s\na,1\n", "1: the column power_w is missing; the columns are node, time_s"),
        ("node,time_s,power_w\n", "has no rows"),
        (GOOD + "a,14\n", "6: has 2 fields, the header has 3"),
        (GOOD + "a,x,1\n", "6: time_s: 'x' is not a number"),
        (GOOD + "a,14,nan\n", "6: power_w: is nan"),
        (GOOD + "a,14,-5\n", "6: power_w: is -5, should be 0 to 1e\\+06"),
        (GOOD + ",14,5\n", "6: node: is empty"),
        (GOOD + "a,12,5\n", "6: time_s: node 'a' has a row for 12 already"),
    ],
)
def test_what_cannot_be_is_refused_with_line_and_column(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadPowerLog, match=f"row.csv:? ?{says}"):
        read(written(tmp_path, text))


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "row.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode() * 100)[:-20])
    with pytest.raises(BadPowerLog):
        read(path)


def test_holes_are_counted(tmp_path: Path) -> None:
    assert read(written(tmp_path, GOOD)).holes == 0
    assert read(written(tmp_path, GOOD + "a,60,5000\nb,13,3000\n")).holes == 1


def test_what_exceeds_the_host_is_shared_by_the_cards(tmp_path: Path) -> None:
    load = RecordedLoad(read(written(tmp_path, GOOD)), gpus=8, host_w=2300.0, slope=1.1)
    demand_w = load.demands_w(0.0)
    assert np.allclose(2300.0 + 1.1 * demand_w.sum(axis=1), [5000.0, 3000.0])
    assert np.allclose(2300.0 + 1.1 * load.demands_w(2.5).sum(axis=1), [6000.0, 3100.0])
    assert list(load.samples()) == [(0.0, 0), (0.0, 1), (2.0, 0), (2.0, 1)]


def test_the_real_log_is_the_one_that_its_readme_describes(data_dir: Path) -> None:
    log = read(data_dir / "power" / "gpt3_64node_h100_power.csv.gz")
    assert (len(log.nodes), len(log.time_s), log.holes) == (64, 108_916, log.holes)
