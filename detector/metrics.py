"""The detector's own numbers, read from its machine when somebody scrapes."""

from collections.abc import Callable, Iterator
from operator import attrgetter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

from gpuwarden.detector.machine import Detector

_COUNTERS = {
    "gpuwarden_detector_samples_judged": ("Node samples judged", "samples_judged"),
    "gpuwarden_detector_samples_repeated": ("Node samples that had come before, passed over", "samples_repeated"),
    "gpuwarden_detector_samples_lost": ("Node samples that never came, by their sequence numbers", "samples_lost"),
    "gpuwarden_detector_comm_judged": ("Records of what ranks say, judged", "comm.taken"),
    "gpuwarden_detector_comm_repeated": ("Records of what ranks say that had come before, passed over", "comm.repeated"),
    "gpuwarden_detector_comm_lost": ("Records of what ranks say that never came, by their sequence numbers", "comm.lost"),
    "gpuwarden_detector_records_refused": ("Records refused at the door, to the dead-letter topic", "refused"),
    "gpuwarden_detector_events_left_out": ("Driver events of nodes with too many firing already", "events_left_out"),
}
_GAUGES = {
    "gpuwarden_detector_partitions": ("Partitions of telemetry and of what ranks say that are this detector's", "partitions_held"),
    "gpuwarden_detector_nodes": ("Nodes known", "nodes_known"),
    "gpuwarden_detector_jobs": ("Running jobs known by what their ranks say", "comm.jobs_known"),
    "gpuwarden_detector_findings_firing": ("Findings that fire", "findings_firing"),
}


class DetectorNumbers(Collector):
    """Plain integers, written by the machine's thread alone."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def collect(self) -> Iterator[Metric]:
        yield from _of_health(self._detector)
        yield from _of_room(self._detector)
        for name, (meaning, attribute) in _COUNTERS.items():
            yield CounterMetricFamily(name, meaning, value=attrgetter(attribute)(self._detector))
        for name, (meaning, attribute) in _GAUGES.items():
            yield GaugeMetricFamily(name, meaning, value=attrgetter(attribute)(self._detector))


def _of_health(detector: Detector) -> Iterator[Metric]:
    """Nothing where no model judges, or is tried."""
    health = detector.health
    if not health.models:
        return
    nodes = GaugeMetricFamily("gpuwarden_detector_health_nodes", "Nodes by what became of their newest minute", labels=["state"])
    for state, count in health.nodes_by_state(detector.nodes_known).items():
        nodes.add_metric([state], count)
    yield nodes
    model = GaugeMetricFamily("gpuwarden_detector_health_model", "1 for the model that judges, and the one in its shadow", labels=["role", "model"])
    for role, name in health.models.items():
        model.add_metric([role, name], 1)
    yield model
    findings = CounterMetricFamily("gpuwarden_detector_health_findings", "Findings node_unlike_itself, and what the shadow would have found", labels=["role"])
    findings.add_metric(["live"], health.findings_fired)
    findings.add_metric(["shadow"], health.shadow_fired)
    yield findings
    judged, late, missing = "Minutes of nodes judged by the live model", "Node samples of minutes that were over", "Metrics that nodes used to tell, and did not in their newest minute"
    yield CounterMetricFamily("gpuwarden_detector_health_minutes_judged", judged, value=health.minutes_judged)
    yield CounterMetricFamily("gpuwarden_detector_health_samples_late", late, value=health.samples_late)
    yield GaugeMetricFamily("gpuwarden_detector_health_metrics_missing", missing, value=health.metrics_missing)


def _of_room(detector: Detector) -> Iterator[Metric]:
    """Nothing where nodes are not judged beside each other."""
    room = detector.room
    if room is None:
        return
    gauges = {
        "live": ("1 once what the group has told before this detector began is read", int(room.live)),
        "nodes": ("Nodes of the whole group that are judged beside each other", room.nodes_known),
        "detectors": ("Detectors of the group that speak", room.minutes.detectors),
        "firing": ("Nodes of the whole group that are unlike others", room.firing),
    }
    for name, (meaning, value) in gauges.items():
        yield GaugeMetricFamily(f"gpuwarden_detector_room_{name}", meaning, value=value)
    counters = {
        "minutes_judged": ("Minutes of nodes judged beside each other, of the whole group", room.minutes_judged),
        "findings": ("Findings node_unlike_others of the whole group", room.findings_fired),
        "minutes_late": ("Minutes of nodes that were told when they were over", room.minutes.late),
        "minutes_repeated": ("Minutes of nodes that were told before", room.minutes.repeated),
        "nodes_left_out": ("Minutes of nodes beyond max_nodes", room.nodes_left_out),
    }
    for name, (meaning, value) in counters.items():
        yield CounterMetricFamily(f"gpuwarden_detector_room_{name}", meaning, value=value)


def register(detector: Detector) -> Callable[[], None]:
    """Onto the page that `core.metrics` serves; returns what takes it off."""
    numbers = DetectorNumbers(detector)
    REGISTRY.register(numbers)
    return lambda: REGISTRY.unregister(numbers)
