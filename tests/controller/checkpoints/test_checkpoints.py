"""Checkpoints as torch.distributed.checkpoint leaves them, whole and cut short, and those told by a manifest."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.port import free_port

from gpuwarden.controller.checkpoints.checkpoint import Checkpoint, NoCheckpoint
from gpuwarden.controller.checkpoints.newest import newest

SAVER = Path(__file__).with_name("dcp_saver.py")
RANKS = 2


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a job leaves that is killed while it writes its third checkpoint: two are whole."""
    folder = tmp_path_factory.mktemp("saved")
    common = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(RANKS)}
    ranks = [subprocess.Popen([sys.executable, SAVER, folder, "30000"], env={**common, "RANK": str(rank)}) for rank in range(RANKS)]
    try:
        until_s = time.monotonic() + 90.0
        while not list((folder / "step-3").glob("*.distcp")):
            assert time.monotonic() < until_s and all(rank.poll() is None for rank in ranks)
            time.sleep(0.002)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert not (folder / "step-3" / ".metadata").exists(), "it was quicker than we"
    yield folder


@pytest.fixture
def saved(killed: Path, tmp_path: Path) -> Path:
    """A copy to spoil, with the times of the files."""
    return Path(shutil.copytree(killed, tmp_path / "saved"))


def test_of_a_job_that_was_killed_as_it_wrote_the_one_before_is_chosen(saved: Path) -> None:
    found = newest(saved)
    assert found == Checkpoint(saved / "step-2", "dcp", (saved / "step-2" / ".metadata").stat().st_mtime, 2, found.bytes)
    assert found.bytes == sum(path.stat().st_size for path in found.path.glob("*.distcp"))
    assert newest(saved / "step-1").path == saved / "step-1"


def test_only_what_was_written_before_the_trouble_began(saved: Path) -> None:
    began_s = newest(saved).written_s
    assert newest(saved, before_s=began_s).path.name == "step-1"
    assert newest(saved, before_s=began_s + 0.001).path.name == "step-2"
    with pytest.raises(NoCheckpoint, match=r"step-2: was written \d+ s too late; step-1: was written"):
        newest(saved, before_s=began_s - 3600.0)


def spoil(folder: Path, how: str) -> None:
    (part, *_), marker = sorted(folder.glob("*.distcp")), folder / ".metadata"
    match how:
        case "a file is gone":
            part.unlink()
        case "a file is short":
            os.truncate(part, part.stat().st_size - 1)
        case "written again":
            os.utime(part, (time.time(), marker.stat().st_mtime + 5.0))
        case "written again, almost through":
            (folder / ".metadata.tmp").touch()
        case "metadata cut":
            os.truncate(marker, marker.stat().st_size // 2)
        case "metadata of nothing":
            marker.write_bytes(pickle.dumps({}))
        case "metadata of elsewhere":
            marker.write_bytes(marker.read_bytes().replace(b"__0_0.distcp", b"../../passwd"))
        case _:
            raise AssertionError(how)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("a file is gone", "__0_0.distcp is not there"),
        ("a file is short", r"__0_0.distcp has \d+ bytes, should have \d+"),
        ("written again", "__0_0.distcp is newer than .metadata"),
        ("written again, almost through", "it is being written again"),
        ("metadata cut", ".metadata cannot be read"),
        ("metadata of nothing", "names no files"),
        ("metadata of elsewhere", "names '../../passwd', which is not in it"),
    ],
)
def test_one_that_is_not_whole_is_never_chosen(saved: Path, how: str, says: str) -> None:
    spoil(saved / "step-2", how)
    assert newest(saved).path.name == "step-1"
    shutil.rmtree(saved / "step-1")
    with pytest.raises(NoCheckpoint, match=f"step-2: {says}"):
        newest(saved)


def test_what_it_reads_is_never_run(saved: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "harmed"),)

    (saved / "step-2" / ".metadata").write_bytes(pickle.dumps(Harm()))
    assert newest(saved).path.name == "step-1"
    assert not (tmp_path / "harmed").exists()


def put(folder: Path, step: int, manifest: object = None) -> Path:
    """A checkpoint of plain files, as docs/schedulers.md tells a job to write one."""
    place = folder / f"at-{step}"
    place.mkdir(parents=True)
    (place / "checkpoint.json.tmp").touch()
    (place / "rank-0.pt").write_bytes(b"weights")
    told = {"version": 1, "step": step, "files": {"rank-0.pt": 7}} if manifest is None else manifest
    (place / "checkpoint.json.tmp").write_text(told if isinstance(told, str) else json.dumps(told))
    (place / "checkpoint.json.tmp").rename(place / "checkpoint.json")
    return place


def test_plain_files_are_whole_once_their_manifest_is_there(tmp_path: Path) -> None:
    place = put(tmp_path, 9)
    (tmp_path / "at-10").mkdir()
    (tmp_path / "at-10" / "rank-0.pt").write_bytes(b"weights")
    found = newest(tmp_path)
    assert (found.path, found.kind, found.step, found.bytes) == (place, "manifest", 9, 7)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ("{", "checkpoint.json: Expecting"),
        ("[]", "checkpoint.json: should be a table"),
        ({"version": 2}, "checkpoint.json: version: is 2, should be 1"),
        ({"version": 1, "step": "9", "files": {}}, "checkpoint.json: step: is '9', should be a whole number"),
        ({"version": 1, "files": ["rank-0.pt"]}, "checkpoint.json: files: should be a table"),
        ({"version": 1, "files": {"rank-0.pt": -1}}, "checkpoint.json: files: rank-0.pt: is '-1', should be its size"),
        ({"version": 1, "files": {}}, "names no files"),
        ({"version": 1, "files": {"rank-0.pt": 8}}, "rank-0.pt has 7 bytes, should have 8"),
        ({"version": 1, "files": {"rank-1.pt": 7}}, "rank-1.pt is not there"),
        ({"version": 1, "files": {"/etc/passwd": 7}}, "names '/etc/passwd', which is not in it"),
    ],
)
def test_a_manifest_that_is_wrong_is_told_by_its_field(tmp_path: Path, manifest: object, says: str) -> None:
    put(tmp_path, 9, manifest)
    with pytest.raises(NoCheckpoint, match=f"at-9: {says}"):
        newest(tmp_path)


def test_one_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    put(tmp_path, 1)
    place = tmp_path / "at-2"
    place.mkdir()
    (place / "checkpoint.json.tmp").touch()

    def write() -> None:
        for _ in range(4):  # longer than quiet_s altogether, and never as quiet as that
            time.sleep(0.3)
            with (place / "rank-0.pt").open("ab") as part:
                part.write(b"weights")
        (place / "checkpoint.json.tmp").write_text(json.dumps({"version": 1, "files": {"rank-0.pt": 28}}))
        (place / "checkpoint.json.tmp").rename(place / "checkpoint.json")

    writing = threading.Thread(target=write)
    writing.start()
    assert newest(tmp_path, wait_s=0.0).path.name == "at-1"
    assert newest(tmp_path, wait_s=20.0, quiet_s=1.0).path == place
    writing.join()


def test_one_that_nobody_writes_any_more_is_not_waited_for_and_neither_is_one_that_would_be_too_new(saved: Path) -> None:
    for wait_s, before_s, quiet_s in ((20.0, None, 0.6), (20.0, time.time(), 20.0), (0.6, None, 20.0)):
        began_s = time.monotonic()
        assert newest(saved, before_s, wait_s, quiet_s).path.name == "step-2"
        assert time.monotonic() - began_s < 5.0


def test_a_folder_that_is_not_there_or_goes_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoCheckpoint, match="nowhere: No such file or directory"):
        newest(tmp_path / "nowhere")
    with pytest.raises(NoCheckpoint, match="holds none"):
        newest(tmp_path)
    runs = tmp_path / "runs"
    (runs / "at-1").mkdir(parents=True)
    (runs / "at-1" / "0.distcp").touch()
    threading.Timer(0.3, shutil.rmtree, (runs,)).start()
    with pytest.raises(NoCheckpoint, match="runs: No such file or directory"):
        newest(runs, wait_s=20.0)
