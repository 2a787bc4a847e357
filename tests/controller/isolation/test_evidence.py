"""How sure findings make us, and of what."""

from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.isolation.evidence import Certainty, fuse
from gpuwarden.controller.isolation.signals import SORTS, Harm, Nature, Scope, Signal, sort_of
from gpuwarden.detector.comm import live_claims
from gpuwarden.detector.health.claim import NODE_UNLIKE_ITSELF
from gpuwarden.detector.models import MODELS
from gpuwarden.detector.rules import RULES
from gpuwarden.detector.rules.rule import CRITICAL
from gpuwarden.detector.rules.xid import XIDS

KINDS = (*SORTS, "xid_48", "xid_74", "xid_79", "xid_13", "xid_999")


def signal(kind: str, part: str = "GPU-0", scope: Scope = Scope.GPU, *, firing: bool = True, since_s: float = 5.0) -> Signal:
    return Signal(f"{kind}{part}", kind, "n1", scope, part, firing, since_s)


def rank(kind: str) -> Signal:
    return signal(kind, "3", Scope.RANK)


def certainty(*signals: Signal) -> Certainty:
    return fuse(signals).certainty


def test_two_findings_from_one_sensor_are_one_witness() -> None:
    assert certainty(signal("gpu_hardware_thermal"), signal("gpu_software_thermal")) is Certainty.ONE_WITNESS
    assert certainty(signal("xid_79"), signal("gpu_recovery_action")) is Certainty.ONE_WITNESS
    assert certainty(signal("xid_48"), signal("gpu_ecc_uncorrected")) is Certainty.ONE_WITNESS
    assert certainty(signal("xid_74"), signal("gpu_nvlink_down")) is Certainty.ONE_WITNESS


def test_two_witnesses_of_one_part_are_sure_and_of_two_parts_are_not() -> None:
    assert certainty(signal("gpu_hardware_thermal"), signal("gpu_pcie_degraded")) is Certainty.TWO_WITNESSES
    assert certainty(signal("gpu_hardware_thermal"), signal("gpu_pcie_degraded", "GPU-1")) is Certainty.ONE_WITNESS
    assert certainty(signal("xid_79"), rank("rank_hang")) is Certainty.TWO_WITNESSES


def test_hints_bear_out_and_never_suffice() -> None:
    assert certainty(signal("gpu_unusual"), rank("rank_hang_unclear")) is Certainty.HINTED
    assert certainty(signal("xid_999"), signal("gpu_unusual")) is Certainty.HINTED
    assert certainty(rank("rank_slow"), signal("host_unusual", "", Scope.NODE)) is Certainty.TWO_WITNESSES
    assert certainty(rank("rank_hang"), signal("node_unlike_itself", "", Scope.NODE)) is Certainty.ONE_WITNESS, "a node whose job hangs is unlike itself"
    assert certainty(signal("gpu_hardware_thermal"), signal("gpu_unusual")) is Certainty.ONE_WITNESS, "the model looks at the same temperatures"


def test_one_end_of_a_link_is_not_told_from_the_other() -> None:
    verdict = fuse([signal("gpu_nvlink_down", "a-b", Scope.LINK)])
    assert verdict.certainty is Certainty.HINTED
    assert "which end" in verdict.surer


def test_a_test_and_an_operator_need_no_second() -> None:
    assert fuse([signal("nic_errors")], tested="the loopback failed").certainty is Certainty.TESTED
    assert fuse([], ordered_by="ada").certainty is Certainty.ORDERED


def test_the_worst_that_any_of_them_does_is_what_becomes_of_the_job() -> None:
    assert fuse([signal("gpu_pcie_replays"), signal("gpu_ecc_storm")]).harm is Harm.LATER
    assert fuse([signal("gpu_pcie_degraded"), signal("gpu_ecc_storm")]).harm is Harm.SLOWS
    assert fuse([signal("gpu_nvlink_down"), signal("gpu_ecc_storm")]).harm is Harm.STOPS


def test_it_says_what_would_make_it_surer() -> None:
    assert fuse([signal("xid_79")]).surer == "another witness than bus and driver, or a test of the node that fails"
    assert fuse([signal("xid_79"), rank("rank_dead")]).surer == ""


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(("GPU-0", "GPU-1")), st.booleans()), max_size=6))
def test_more_evidence_never_makes_less_sure_and_what_has_ended_counts_nothing(drawn: list[tuple[str, str, bool]]) -> None:
    signals = [signal(kind, part, firing=firing) for kind, part, firing in drawn]
    firing = [one for one in signals if one.firing and sort_of(one.kind) is not None]
    verdict = fuse(signals)
    assert verdict.certainty == fuse(firing).certainty
    assert all(fuse(firing[:count]).certainty <= verdict.certainty for count in range(len(firing)))
    if verdict.sure:
        sorts = [sort for one in verdict.signals if (sort := sort_of(one.kind)) is not None]
        assert any(not a.witnesses & b.witnesses and Nature.FAULT in (a.nature, b.nature) for a in sorts for b in sorts)


def test_everything_that_the_detector_says_has_a_worth() -> None:
    for rule in RULES:
        assert sort_of(rule.kind) is not None, rule.kind
    for line in MODELS:
        model = sort_of(line.build(1).kind)
        assert model is not None and model.nature is Nature.HINT, line
    for kind in (live_claims.HANG, live_claims.DEAD, live_claims.SLOW):
        assert sort_of(kind) is not None and sort_of(kind).nature is Nature.FAULT and sort_of(kind).behaviour, kind
    assert {sort_of(kind).nature for kind in (live_claims.UNCLEAR, NODE_UNLIKE_ITSELF)} == {Nature.HINT}
    for code, row in XIDS.items():
        sort = sort_of(f"xid_{code}")
        assert sort is not None
        assert (sort.nature is Nature.FAULT) >= (row.severity == CRITICAL), code
    assert sort_of("xid_") is sort_of("xid_-1") is sort_of("xid_\u0661") is sort_of("weather") is None
