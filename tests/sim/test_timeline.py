"""Virtual time: in order, without drift, and the same whatever the pace."""

from gpuwarden.sim.timeline import Timeline


def test_things_of_one_instant_happen_in_the_order_in_which_they_were_planned() -> None:
    time, seen = Timeline(), []
    for name in "abc":
        time.at(1.0, lambda name=name: seen.append(name))  # type: ignore[misc]  # a default binds the name now
    time.at(0.5, lambda: seen.append("first"))
    time.run(2.0)
    assert seen == ["first", "a", "b", "c"]
    assert time.now_s == 2.0


def test_what_repeats_does_not_drift() -> None:
    time, seen = Timeline(), list[float]()
    time.every(0.1, lambda: seen.append(time.now_s), first_s=0.05)
    time.run(1000.0)
    assert len(seen) == 10_000
    assert seen[-1] == 0.05 + 9999 * 0.1


def test_the_pace_is_told_every_time_and_changes_nothing() -> None:
    time, paced = Timeline(), list[float]()
    time.every(0.25, lambda: None)
    time.run(1.0, paced.append)
    assert paced == [0.0, 0.25, 0.5, 0.75, 1.0]
