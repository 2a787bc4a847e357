"""What a long run says of itself."""

from gpuwarden.sim.safety.progress import Progress


def test_it_says_nothing_within_half_a_minute_and_then_again_each() -> None:
    progress = Progress(7200.0, began_s=1000.0)
    assert [bool(progress.line(now_s)) for now_s in (1001.0, 1029.0, 1030.0, 1031.0, 1059.0, 1060.0)] == [False, False, True, False, False, True]


def test_before_the_first_run_has_ended_nobody_knows_how_long_it_takes() -> None:
    assert Progress(7200.0, began_s=0.0).line(90.0) == "0.0 of 2.0 h (0.0%), 0 runs in 0 h 02 min: the first run is under way"


def test_hours_speed_and_what_is_left() -> None:
    progress = Progress(20 * 3600.0, began_s=0.0)
    for _ in range(5):
        progress.done(1200.0)
    assert progress.line(300.0) == "1.7 of 20.0 h (8.3%), 5 runs in 0 h 05 min: 20.0 times real time, about 0 h 55 min to go"
