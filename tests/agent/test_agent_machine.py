"""The agent: one record a pass, whatever its collectors do, and sealed messages carried unchanged."""

import math

from gpuwarden.agent.events import (
    Action,
    Collect,
    Collected,
    CollectFailed,
    ControllerLink,
    FromController,
    FromLimiter,
    LimiterLink,
    SendTelemetry,
    Tick,
    ToController,
    ToLimiter,
)
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.agent.reading import DeviceEvent, DeviceReading, Reading
from gpuwarden.core.machine import Say
from gpuwarden.core.seal import Way, seal
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import decode
from gpuwarden.proto.lease_pb2 import CardReport, Mode, PowerReport


def agent() -> Agent:
    return Agent(AgentSetup("n1", "start-1", ("nvml", "host")))


def gpu(power_w: float = 300.0, energy_j: float = 1e9) -> Reading:
    values = {"gpu_power_watts": power_w, "gpu_energy_joules_total": energy_j}
    return Reading((DeviceReading(Device.GPU, "GPU-0", 0, values), DeviceReading(Device.GPU, "GPU-1", 1, {"gpu_lost": 1.0})))


def host() -> Reading:
    return Reading((DeviceReading(Device.HOST, "n1", 0, {"host_load1": 2.0}),))


def sent(actions: list[Action]) -> list[SendTelemetry]:
    return [action for action in actions if isinstance(action, SendTelemetry)]


def one_pass(made: Agent, now_s: float, reading: Reading) -> SendTelemetry:
    made.step(now_s, Tick(int(now_s * 1e9)))
    made.step(now_s, Collected("nvml", reading, 0.01))
    (record,) = sent(made.step(now_s, Collected("host", host(), 0.01)))
    return record


def column(record: SendTelemetry, name: str) -> list[float]:
    """One GPU metric of all cards."""
    (gpus,) = (r for r in decode(record.payload).readings if r.device is Device.GPU)
    return [float(v) for v in gpus.values[:, [m.name for m in COLUMNS[Device.GPU]].index(name)]]


def test_a_record_leaves_when_the_last_collector_has_answered() -> None:
    made = agent()
    assert made.step(0.0, Tick(7)) == [Collect(("nvml", "host"))]
    assert sent(made.step(0.1, Collected("nvml", gpu(), 0.1))) == []
    (record,) = sent(made.step(0.2, CollectFailed("host", "no /proc", 0.1)))
    sample = decode(record.payload)
    assert (sample.node, sample.sequence, sample.unix_ns) == ("n1", 1, 7)


def test_a_collector_that_hangs_is_left_out_and_not_ordered_twice() -> None:
    made = agent()
    made.step(0.0, Tick(1))
    made.step(0.1, Collected("host", host(), 0.1))
    said, record, collect = made.step(1.0, Tick(2))
    assert isinstance(said, Say) and "nvml" in said.sentence
    assert isinstance(record, SendTelemetry)
    assert collect == Collect(("host",))


def test_what_a_late_collector_read_is_a_record_of_its_own_stamped_when_it_was_ordered() -> None:
    made = agent()
    made.step(0.0, Tick(1))
    made.step(0.1, Collected("host", host(), 0.1))
    made.step(1.0, Tick(2))
    late = Reading(gpu().devices, events=(DeviceEvent("xid", "GPU-0", 79, "fell off"),))
    (record,) = sent(made.step(1.05, Collected("nvml", late, 1.05)))
    sample = decode(record.payload)
    assert (sample.unix_ns, sample.sequence, [event.code for event in sample.events]) == (1, 2, [79])
    assert column(record, "gpu_power_watts")[0] == 300.0
    (record,) = sent(made.step(1.1, Collected("host", host(), 0.1)))
    assert decode(record.payload).unix_ns == 2
    made.step(2.0, Tick(3))
    assert sent(made.step(2.1, Collected("nvml", gpu(), 0.1))) == []


def test_a_late_collector_that_failed_sends_nothing() -> None:
    made = agent()
    made.step(0.0, Tick(1))
    made.step(0.1, Collected("host", host(), 0.1))
    made.step(1.0, Tick(2))
    assert sent(made.step(1.5, CollectFailed("nvml", "hung", 1.5))) == []


def test_a_failure_is_said_when_it_changes_and_not_every_second() -> None:
    made = agent()
    said = []
    for second in range(5):
        made.step(second, Tick(second))
        made.step(second, Collected("nvml", gpu(), 0.1))
        said += [a for a in made.step(second, CollectFailed("host", "no /proc", 0.1)) if isinstance(a, Say)]
    assert [a.sentence for a in said] == ["collector host failed: no /proc"]


def test_the_energy_counter_itself_travels_too_so_that_the_next_agent_s_can_be_joined_to_it() -> None:
    first, second = agent(), agent()
    told = [one_pass(made, 1.0, gpu(energy_j=energy_j)) for made, energy_j in ((first, 1e6), (first, 1.5e6), (second, 2e6))]
    assert [column(record, "gpu_energy_joules_total")[0] for record in told] == [0.0, 5e5, 0.0]
    assert [column(record, "gpu_energy_since_load_joules")[0] for record in told] == [1e6, 1.5e6, 2e6]


def test_a_counter_travels_as_its_increase_and_survives_a_reset() -> None:
    made = agent()
    values = [1e9, 1e9 + 300.0, 50.0]
    records = [one_pass(made, t, gpu(energy_j=v)) for t, v in enumerate(values)]
    assert [column(record, "gpu_energy_joules_total")[0] for record in records] == [0.0, 300.0, 350.0]


def test_a_metric_that_one_card_lacks_is_nan_for_it_alone() -> None:
    first_w, second_w = column(one_pass(agent(), 0.0, gpu()), "gpu_power_watts")
    assert first_w == 300.0 and math.isnan(second_w)


def test_which_limits_are_ours_is_read_from_the_limiters_report() -> None:
    made = agent()
    cards = [CardReport(uuid="GPU-0", enforced_w=400, default_w=700), CardReport(uuid="GPU-1", enforced_w=700, default_w=700)]
    report = PowerReport(version=1, node="n1", mode=Mode.MODE_AUTO, cards=cards)
    made.step(0.0, FromLimiter(seal(bytes(32), Way.UP, "n1", report.SerializeToString())))
    assert column(one_pass(made, 0.0, gpu()), "gpu_capped_by_us") == [1.0, 0.0]


def test_sealed_messages_are_carried_unchanged_while_both_sides_are_there() -> None:
    made = agent()
    assert made.step(0.0, FromLimiter(b"report")) == []
    made.step(0.0, ControllerLink(True))
    assert made.step(0.0, FromLimiter(b"report")) == [ToController(b"report")]
    assert made.step(0.0, FromController(b"grant")) == []
    made.step(0.0, LimiterLink(True))
    assert made.step(0.0, FromController(b"grant")) == [ToLimiter(b"grant")]
    made.step(0.0, ControllerLink(False, "gone"))
    assert made.step(0.0, FromLimiter(b"report")) == []
