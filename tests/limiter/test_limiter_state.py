"""What a limiter remembers is there after a restart, or it refuses to start."""

from pathlib import Path

import pytest

from gpuwarden.agent.limiter.state import Remembered, load_state, save_state
from gpuwarden.core.config import ConfigError
from gpuwarden.proto.lease_pb2 import Mode


def test_a_new_node_observes(tmp_path: Path) -> None:
    assert load_state(tmp_path / "state") == Remembered(0, Mode.MODE_OBSERVE)


def test_what_was_saved_last_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "made" / "state"
    for remembered in (Remembered(7, Mode.MODE_AUTO), Remembered(1 << 60, Mode.MODE_NOTIFY, 200.0)):
        save_state(path, remembered)
        assert load_state(path) == remembered
    assert [found.name for found in path.parent.iterdir()] == ["state"]


def test_a_file_of_a_limiter_that_wrote_no_floor_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text('{"epoch": 7, "mode": "MODE_AUTO"}')
    assert load_state(path) == Remembered(7, Mode.MODE_AUTO, None)


BAD_FLOORS = [f'{{"epoch": 1, "mode": "MODE_AUTO", "floor_w": {floor}}}' for floor in ("-1", "NaN", '"low"')]


@pytest.mark.parametrize("text", [*BAD_FLOORS, "", "{}", "[1]", '{"epoch": 1, "mode": "loud"}', '{"epoch": "x", "mode": "MODE_AUTO"}', "\xff"])
def test_a_file_that_says_nothing_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="state_file"):
        load_state(path)
