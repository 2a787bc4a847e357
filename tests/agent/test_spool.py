"""The spool is bounded, drops the oldest, and records with device events last."""

from gpuwarden.agent.spool import DROPPED, Spool
from gpuwarden.proto.telemetry_pb2 import DeviceEvent, Telemetry


def record(number: int, *, event: bool = False) -> bytes:
    return Telemetry(sequence=number, events=[DeviceEvent(kind="xid")] if event else []).SerializeToString()


def drained(spool: Spool) -> list[int]:
    taken = []
    while (payload := spool.take(0.0)) is not None:
        taken.append(Telemetry.FromString(payload).sequence)
    return taken


def dropped(events: str) -> float:
    value: float = DROPPED.labels(events)._value.get()
    return value


def test_records_leave_in_the_order_in_which_they_came() -> None:
    spool = Spool(10)
    for number in range(5):
        spool.put(record(number))
    assert drained(spool) == [0, 1, 2, 3, 4]


def test_a_full_spool_drops_the_oldest_and_counts_it() -> None:
    spool, before = Spool(3), dropped("no")
    for number in range(10):
        spool.put(record(number))
    assert drained(spool) == [7, 8, 9]
    assert dropped("no") - before == 7


def test_records_with_device_events_outlive_all_others() -> None:
    spool = Spool(3)
    for number in range(10):
        spool.put(record(number, event=number in (1, 2)))
    assert drained(spool) == [1, 2, 9]


def test_when_all_have_events_the_bound_still_holds_and_the_loss_is_counted_apart() -> None:
    spool, before = Spool(3), dropped("yes")
    for number in range(5):
        spool.put(record(number, event=True))
    assert drained(spool) == [2, 3, 4]
    assert dropped("yes") - before == 2


def test_what_could_not_be_sent_is_first_in_line_again() -> None:
    spool = Spool(3)
    for number in (1, 2):
        spool.put(record(number))
    payload = spool.take(0.0)
    assert payload is not None
    spool.put_back(payload)
    assert drained(spool) == [1, 2]
