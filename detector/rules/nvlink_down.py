"""Fewer NVLinks are up than this card has had."""

from gpuwarden.detector.rules.rule import CRITICAL, Fact, Rule, highest_of, value_of
from gpuwarden.detector.view import Values, View
from gpuwarden.proto.catalogue import Device


def _score(view: View) -> Values:
    return view.highest("gpu_nvlink_active_links") - view.value("gpu_nvlink_active_links")


RULE = Rule(
    "gpu_nvlink_down", Device.GPU, CRITICAL,
    "NVLinks of the card are down",
    "Check the fabric manager and the kernel log for NVLink XIDs; drain the node and reset the card.",
    _score,
    (Fact("links up", value_of("gpu_nvlink_active_links"), expected=highest_of("gpu_nvlink_active_links")),),
)
