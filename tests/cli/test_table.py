"""The terminal's picture: what matters first, within the screen, and no name can move the cursor."""

import io

import pytest
from rich.console import Console
from web.snapshots import SCENES, Scene, snapshot

from gpuwarden.cli.table import Table, plain_line
from gpuwarden.proto.control_pb2 import WatchResponse


def screen(*snapshots: WatchResponse, width: int = 120, height: int = 30) -> str:
    """The last picture as a terminal without colours shows it."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=width, height=height, highlight=False, legacy_windows=False)
    table = Table(console)
    for one in snapshots:
        table.show(one)
    table.close()
    return out.getvalue().rpartition("\x1b[1A\x1b[2K")[2].replace("\x1b[?25h", "")


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 30), (200, 60)])
def test_every_scene_fits_the_screen(scene: str, width: int, height: int) -> None:
    lines = screen(snapshot(SCENES[scene]), width=width, height=height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_the_headline_is_first_and_the_row_comes_next() -> None:
    first, second = screen(snapshot(SCENES["eight"])).splitlines()[:2]
    assert "Safe: row-a draws 47.7 kW of 58.2 kW (82 %)" in first
    assert second.startswith("row-a  auto  47.7 kW of 58.2 kW") and "heat" in second


def test_where_not_all_nodes_fit_the_hung_and_silent_are_shown_first_and_the_rest_is_counted() -> None:
    picture = screen(snapshot(SCENES["thousand"]), height=30)
    nodes = [line for line in picture.splitlines() if line.startswith("node-") and "GPU" not in line.split()[0]]
    assert nodes[0].startswith("node-777") and "hung" in nodes[0] and "stale" in nodes[1]
    assert f"and {1000 - len(nodes)} more nodes" in picture


def test_findings_and_actions_are_told_with_their_reasons() -> None:
    picture = screen(snapshot(SCENES["findings"]), width=160)
    assert "critical node-05/GPU-5b1f0c2e: GPU 5 computes 23 % slower" in picture
    assert "→ drain the node after the next checkpoint" in picture
    assert "node-03, node-08 and 11 more: capped to 430 W a GPU" in picture


def test_in_observe_mode_it_says_would() -> None:
    assert "would cap" in screen(snapshot(SCENES["observe"]))


@pytest.mark.parametrize("evil", ["\x1b[2J\x1b[31mn0", "n0\r\n\x07", "[red]n0[/red] [/]", "\u202en0"])
def test_no_name_colours_the_terminal_or_moves_its_cursor(evil: str) -> None:
    shown = snapshot(Scene(8, names=(evil,), findings=1))
    shown.nodes[0].reason = shown.findings[0].summary = shown.actions[0].reason = shown.cluster.domains[0].name = evil
    picture, line = screen(shown, width=160), plain_line(shown)
    for code in ("\x1b[2J", "\x1b[31m", "\r", "\x07", "\u202e"):
        assert code not in picture and code not in line
    assert "n0" in picture and ("[red]" not in evil or "[red]n0[/red]" in picture)


def plainly(*snapshots: WatchResponse) -> list[str]:
    out = io.StringIO()
    table = Table(Console(file=out, force_terminal=False, width=80))
    for one in snapshots:
        table.show(one)
    table.close()
    return out.getvalue().splitlines()


def test_without_a_terminal_there_is_a_line_every_five_seconds_of_the_snapshots_own_time() -> None:
    lines = plainly(*(snapshot(SCENES["eight"], second / 2) for second in range(21)))
    assert len(lines) == 3
    assert all("Safe: row-a draws" in line and "8 of 8 nodes live, 0 findings firing." in line for line in lines)


def test_without_a_terminal_a_turn_for_the_worse_is_told_at_once() -> None:
    lines = plainly(snapshot(SCENES["eight"]), snapshot(SCENES["over"], 0.5), snapshot(SCENES["over"], 1.0))
    assert len(lines) == 2 and "Over " in lines[1]


def test_a_clock_that_goes_back_does_not_silence_it() -> None:
    assert len(plainly(snapshot(SCENES["eight"], 1000), snapshot(SCENES["eight"], 1))) == 2
