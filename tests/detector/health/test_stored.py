"""A model of health from the fit to the detector and back: whole, or refused with the field and the reason."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.learned import learned

from gpuwarden.detector.chooser import Chooser
from gpuwarden.detector.events import Chosen
from gpuwarden.detector.health.features import LEARNED
from gpuwarden.detector.health.fit import Fitted, TooLittle, fitted, stacked
from gpuwarden.detector.health.learned import Learned
from gpuwarden.detector.health.stored import Origin, stored, understood
from gpuwarden.detector.past.block import LeftOut, Past
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.detector.registry.manifest import Column, Manifest
from gpuwarden.detector.registry.model import TENSORS
from gpuwarden.detector.registry.refused import BadModel
from gpuwarden.detector.registry.shelf import Registry

ORIGIN = Origin(1_700_000_000.0, 1e9, 1.6e9, 0.1)
DAY = 1440
NAMES = [FEATURES[column].name for column in LEARNED[:6].tolist()]


def history(minutes: int = 2 * DAY, seed: int = 1) -> Past:
    """Two nodes: a metric that varies, one that follows it, one that is constant, one that only the first node tells; the others are dead."""
    chance = np.random.default_rng(seed)
    values = np.full((2, minutes, len(FEATURES)), np.nan, np.float32)
    load = chance.normal(500, 20, (2, minutes))
    of = LEARNED.tolist()
    values[:, :, of[0]], values[:, :, of[1]], values[:, :, of[2]] = load, 2 * load + chance.normal(0, 1, (2, minutes)), 7.0
    values[0, :, -1] = chance.normal(0, 1, minutes)
    return Past(("a", "b"), np.arange(minutes), values, LeftOut(), (("GPU-0",), ()))


def fit(past: Past) -> Learned:
    return stacked([one for node in range(2) if isinstance(one := fitted(past, 0.1, node), Fitted)])


def test_what_was_learned_comes_back_from_the_registry(tmp_path: Path) -> None:
    made = fit(history())
    assert made.columns.tolist() == [*LEARNED[:3].tolist(), len(FEATURES) - 1]
    assert made.varying.tolist() == [0, 1, 3], "the third is constant, all others dead"
    assert np.isnan(made.mean[1, 3]) and not np.isnan(made.mean[0, 3])
    registry = Registry(tmp_path)
    back = understood(registry.load(registry.add(*stored(made, ORIGIN))))
    assert (back.nodes, back.cards) == (made.nodes, made.cards)
    for name in ("columns", "varying", "mean", "deviation", "covariance", "weights", "spread", "threshold"):
        np.testing.assert_allclose(getattr(back, name), getattr(made, name), rtol=1e-5, err_msg=name)


def test_gaps_and_nan_are_left_out_and_too_little_history_is_said() -> None:
    past = history()
    past.values[0, 100:400] = np.nan
    past.values[0, 1000:1010, LEARNED[1]] = np.nan
    made = fitted(past, 0.1, 0)
    assert isinstance(made, Fitted) and (made.known_minutes, made.minutes) == (2 * DAY - 300, 2 * DAY)
    assert np.isfinite(made.covariance).all() and np.isfinite(made.threshold)
    past.values[1, : 2 * DAY - 600] = np.nan
    assert fitted(past, 0.1, 1) == TooLittle("b", 600)


def test_features_in_another_order_are_taken_by_their_names(tmp_path: Path) -> None:
    """As of a model from a version whose catalogue has them elsewhere."""
    made = learned(["a"], ["GPU-0"], NAMES)
    manifest, tensors = stored(made, ORIGIN)
    turned = replace(manifest, features=manifest.features[::-1])
    registry = Registry(tmp_path)
    back = understood(registry.load(registry.add(turned, {**tensors, "mean": tensors["mean"][:, ::-1]})))
    assert back.columns.tolist() == made.columns.tolist()[::-1]


Spoil = Callable[[Manifest, dict[str, Any]], tuple[Manifest, Mapping[str, Any]]]
BAD: dict[str, tuple[Spoil, str]] = {
    "another kind": (lambda m, t: (replace(m, kind="borghesi"), t), r"model\.kind: is 'borghesi'"),
    "an unknown feature": (lambda m, t: (replace(m, features=(Column("gpu_soul[0]", "1"), *m.features[1:])), t), "'gpu_soul\\[0\\]' in '1' is not known"),
    "another unit": (lambda m, t: (replace(m, features=(Column(m.features[0].name, "bytes"), *m.features[1:])), t), "is not known to this version"),
    "another shape": (lambda m, t: (m, {**t, "mean": t["mean"][:, 1:]}), r"mean: is \(1, 5\), should be of shape \(1, 6\)"),
    "a tensor that lacks": (lambda m, t: (replace(m, scaler=replace(m.scaler, tensors=())), {n: a for n, a in t.items() if n != "mean"}), "mean: is missing"),
    "places outside": (lambda m, t: (m, {**t, "varying": t["varying"] + 1}), "varying: should be growing places among the 6"),
    "places that are none": (lambda m, t: (m, {**t, "varying": t["varying"] + np.float32(0.5)}), "varying: should be growing places"),
    "a threshold of 0": (lambda m, t: (m, {**t, "threshold": t["threshold"] * 0}), "threshold"),
    "no covariance": (lambda m, t: (m, {**t, "covariance": -t["covariance"]}), "covariance: holds a variance below 0"),
    "cards of others": (lambda m, t: (replace(m, cards=()), t), r"model\.cards"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_model_that_makes_no_sense_is_refused_with_the_field_and_the_reason(bad: str, tmp_path: Path) -> None:
    spoil, said = BAD[bad]
    manifest, tensors = stored(learned(["a"], ["GPU-0"], NAMES), ORIGIN)
    registry = Registry(tmp_path)
    spoilt, of = spoil(manifest, dict(tensors))
    model = registry.load(registry.add(spoilt, of))
    with pytest.raises(BadModel, match=said):
        understood(model)


def test_the_pointers_are_followed_and_a_damaged_model_leaves_the_one_that_judges(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry, models, chosen, stop = Registry(tmp_path), dict[str, Learned](), list[Chosen](), threading.Event()
    first = registry.add(*stored(learned(["a"], [], NAMES), ORIGIN))
    chooser = Chooser(registry, models, chosen.append, stop, look_s=0.01)
    try:
        _until(lambda: [(one.live, one.shadow) for one in chosen] == [(None, first)])
        registry.promote()
        _until(lambda: (chosen[-1].live, chosen[-1].shadow) == (first, None))
        second = registry.add(*stored(learned(["b"], [], NAMES), replace(ORIGIN, made_unix_s=ORIGIN.made_unix_s + 1)))
        _until(lambda: (chosen[-1].live, chosen[-1].shadow) == (first, second) and models[second].nodes == ("b",))
        third = registry.add(*stored(learned(["c"], [], NAMES), replace(ORIGIN, made_unix_s=ORIGIN.made_unix_s + 2)))
        _until(lambda: chosen[-1].shadow == third)
        registry.promote()
        _until(lambda: chosen[-1].live == third)
        registry.roll_back()
        _until(lambda: chosen[-1].live == first)
        told = len(chosen)
        fourth = registry.add(*stored(learned(["d"], [], NAMES), replace(ORIGIN, made_unix_s=ORIGIN.made_unix_s + 3)))
        _until(lambda: chosen[-1].shadow == fourth)
        registry.promote()
        _until(lambda: chosen[-1].live == fourth)
        (tmp_path / "models" / first / TENSORS).write_bytes(b"cut")
        pointers = (tmp_path / "pointers.json").read_text()
        (tmp_path / "pointers.json").write_text(pointers.replace(f'"live": "{fourth}"', f'"live": "{first}"'))
        models.pop(first, None)
        _until(lambda: "digest" in caplog.text and first in caplog.text)
        (tmp_path / "pointers.json").write_text("{")
        _until(lambda: "pointers.json" in caplog.text)
        assert chosen[-1].live == fourth and len(chosen) == told + 2
        assert caplog.text.count("digest: is") == 1, "said once"
    finally:
        stop.set()
        chooser.close()


def _until(so: Callable[[], bool], patience_s: float = 20.0) -> None:
    end_s = time.monotonic() + patience_s
    while not so():
        assert time.monotonic() < end_s
        time.sleep(0.01)
