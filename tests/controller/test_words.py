"""What a receiver is yet to hear: the newest word on each alert until it has arrived, at times that nothing else puts off."""

from dataclasses import replace

from gpuwarden.controller.actuators.words import TOLD_LIMIT, Words
from gpuwarden.controller.events import Notify

FIRED = Notify("row-a/k", True, "critical", "t", "x", "row-a", 1, told_unix_ns=1)
OVER = replace(FIRED, firing=False, told_unix_ns=2)


def other(number: int) -> Notify:
    return replace(FIRED, key=f"other-{number}")


def tell(words: Words, now_s: float, word: Notify) -> None:
    """`word`, that arrives at once."""
    words.take(word)
    assert words.next(now_s) == word
    words.arrived(now_s, word)


def test_an_end_that_did_not_arrive_is_said_again_until_it_does() -> None:
    words = Words(60.0, None)
    tell(words, 0.0, FIRED)
    words.take(OVER)
    for now_s in (10.0, 70.0, 130.0):
        assert words.next(now_s) == OVER
        assert words.failed_before == (now_s > 10.0)
        words.failed(now_s, OVER)
        assert words.next(now_s + 59.0) is None and words.pause_s(now_s + 59.0) == 1.0
    assert words.next(190.0) == OVER
    words.arrived(190.0, OVER)
    assert words.next(10_000.0) is None and words.pause_s(10_000.0) is None


def test_a_newer_word_takes_the_place_of_one_that_did_not_arrive() -> None:
    words = Words(60.0, None)
    words.take(FIRED)
    assert words.next(0.0) == FIRED
    words.failed(0.0, FIRED)
    tell(words, 1.0, OVER)
    assert words.next(1000.0) is None


def test_other_words_do_not_put_off_what_has_to_be_said_again() -> None:
    words, said = Words(60.0, 60.0), list[float]()
    tell(words, 0.0, FIRED)
    for number in range(1, 20):
        now_s = 30.0 * number
        tell(words, now_s, replace(other(number), firing=False))
        while (word := words.next(now_s)) is not None:
            said.append(now_s)
            words.arrived(now_s, word)
    assert said == [60.0 * number for number in range(1, 10)]


def test_what_has_to_be_said_again_is_kept_when_it_fails_and_forgotten_when_it_is_over() -> None:
    words = Words(60.0, 60.0)
    tell(words, 0.0, FIRED)
    assert words.next(60.0) == FIRED
    words.failed(60.0, FIRED)
    assert words.next(120.0) == FIRED
    words.arrived(120.0, FIRED)
    tell(words, 130.0, OVER)
    assert words.next(10_000.0) is None


def test_whether_a_receiver_knows_or_will_know_that_an_alert_fires() -> None:
    words = Words(60.0, None)
    assert not words.fires(FIRED.key)
    words.take(FIRED)
    assert words.fires(FIRED.key), "it waits"
    words.next(0.0)
    assert words.fires(FIRED.key), "it is under way"
    words.failed(0.0, FIRED)
    assert words.fires(FIRED.key), "it is said later"
    words.next(60.0)
    words.arrived(60.0, FIRED)
    assert words.fires(FIRED.key), "it arrived"
    tell(words, 70.0, OVER)
    assert not words.fires(FIRED.key)


def test_what_is_said_later_is_bounded() -> None:
    words = Words(60.0, None)
    for number in range(TOLD_LIMIT + 1):
        words.take(other(number))
        assert words.next(0.0) == other(number)
        words.failed(0.0, other(number))
    said = 0
    while words.next(60.0) is not None:
        said += 1
    assert said == TOLD_LIMIT
