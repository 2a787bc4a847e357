"""A detector's event log names models by their ids alone; with the registry that has them it replays to the same findings."""

from pathlib import Path

import pytest
from fakes.fan_node import CARDS, FIRST, FanNode
from fakes.learned import learned

from gpuwarden.cli.main import main
from gpuwarden.core.eventlog import EventLog
from gpuwarden.detector.events import Chosen, Event, Polled, Raw
from gpuwarden.detector.health.stored import Origin, stored, understood
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.detector.past.piece import MINUTE_NS
from gpuwarden.detector.registry.shelf import Registry


def test_a_log_replays_with_the_registry_and_is_refused_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry(tmp_path / "models")
    model = learned(["a"], CARDS, ["host_fan_min_rpm", "gpu_temperature_celsius[0]"], mean=8000.0, deviation=300.0, threshold=5.0)
    model_id = registry.add(*stored(model, Origin(1e9, 1e8, 2e8, 0.1)))
    setup = DetectorSetup()
    detector, log = Detector(setup, {model_id: understood(registry.load(model_id))}), EventLog(tmp_path, "detector", "x", setup)
    node = FanNode("a")
    payloads = [*node.minutes(0, 8), *node.minutes(8, 16, slow=True)]
    events: list[Event] = [Chosen(model_id, None, FIRST * MINUTE_NS)]
    events += [Polled((Raw(0, offset, "a", payload),)) for offset, payload in enumerate(payloads)]
    for step, event in enumerate(events):
        log.write(float(step), event, detector.step(float(step), event))
    log.close()
    assert detector.health.findings_fired == 1
    assert main(["replay", str(log.path), "--models", str(tmp_path / "models")]) == 0
    assert "led to the same" in capsys.readouterr().out
    assert main(["replay", str(log.path)]) == 2
    assert f"--models: this log needs the model {model_id}; name the registry" in capsys.readouterr().err
