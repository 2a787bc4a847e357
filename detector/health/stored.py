"""What was learned, into a registry's tensors and out again: checked before it is believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.detector.health.features import COLUMN_OF
from gpuwarden.detector.health.learned import KIND, Block, Learned, Places, weighed
from gpuwarden.detector.health.rolling import WINDOW_DAYS
from gpuwarden.detector.past.features import CARDS, FEATURES
from gpuwarden.detector.registry.manifest import Column, Fitted, Manifest
from gpuwarden.detector.registry.model import Model
from gpuwarden.detector.registry.refused import BadModel

SCALER: Final = "deviations"
CALIBRATION: Final = "budget"
BUDGET: Final = "findings_per_node_day"
UNKNOWN: Final = 0.0  # as a deviation: the node never told this feature


@dataclass(frozen=True, slots=True)
class Origin:
    """Of what a model was made. Times are seconds since 1970 UTC."""

    made_unix_s: float
    from_unix_s: float
    until_unix_s: float
    budget_per_node_day: float


def stored(learned: Learned, origin: Origin) -> tuple[Manifest, Mapping[str, Block]]:
    """Without the weights, which follow from the rest."""
    features = tuple(Column(FEATURES[column].name, FEATURES[column].unit) for column in learned.columns.tolist())
    scaler = Fitted(SCALER, {"days": float(WINDOW_DAYS)}, ("deviation", "mean"))
    calibration = Fitted(CALIBRATION, {BUDGET: origin.budget_per_node_day}, ("threshold",))
    manifest = Manifest(
        KIND, origin.made_unix_s, origin.from_unix_s, origin.until_unix_s, learned.nodes, features, scaler, calibration, learned.cards,
    )  # fmt: skip
    return manifest, {
        "mean": np.nan_to_num(learned.mean), "deviation": np.nan_to_num(learned.deviation, nan=UNKNOWN), "covariance": learned.covariance,
        "varying": learned.varying.astype(np.float32), "threshold": learned.threshold,
    }  # fmt: skip


def understood(model: Model) -> Learned:
    """BadModel names the field and the reason. Takes a hundredth of a second and more for each node: their weights are reckoned here."""
    manifest, tensors = model.manifest, model.tensors
    if manifest.kind != KIND:
        raise BadModel(f"model.kind: is {manifest.kind!r}, should be {KIND!r}")
    nodes, width = len(manifest.nodes), len(manifest.features)
    varying = _varying(tensors, width)
    vary = 3 * len(varying)
    shapes = {"mean": (nodes, width), "deviation": (nodes, width), "covariance": (nodes, vary * (vary + 1) // 2), "threshold": (nodes,)}
    for name, shape in shapes.items():
        if name not in tensors or tensors[name].shape != shape:
            raise BadModel(f"tensors: {name}: is {tensors[name].shape if name in tensors else 'missing'}, should be of shape {shape}")
    if len(manifest.cards) != nodes or any(len(of) > CARDS for of in manifest.cards):
        raise BadModel(f"model.cards: are of {len(manifest.cards)} nodes, should be at most {CARDS} of each of {nodes}")
    if (tensors["deviation"] < 0).any() or (tensors["threshold"] <= 0).any():
        raise BadModel("tensors: deviation, threshold: hold one below 0, or a threshold of 0")
    return _learned(manifest, tensors, varying)


def _varying(tensors: Mapping[str, Block], width: int) -> Places:
    told = tensors.get("varying", np.empty((0, 0)))
    places = np.clip(told, 0, width).astype(np.intp)
    if told.ndim != 1 or not (places == told).all() or (places >= width).any() or (np.diff(places) <= 0).any():
        raise BadModel(f"tensors: varying: should be growing places among the {width} features")
    return places


def _learned(manifest: Manifest, tensors: Mapping[str, Block], varying: Places) -> Learned:
    known = tensors["deviation"] != UNKNOWN
    mean, deviation = (np.where(known, tensors[name], np.float32(np.nan)) for name in ("mean", "deviation"))
    above, right = np.triu_indices(3 * len(varying))
    if (tensors["covariance"][:, above == right] < 0).any():
        raise BadModel("tensors: covariance: holds a variance below 0")
    try:
        weights, spread = weighed(tensors["covariance"], len(varying))
    except np.linalg.LinAlgError as why:
        raise BadModel(f"tensors: covariance: {why}") from why
    if not (np.isfinite(weights).all() and (spread > 0).all()):
        raise BadModel("tensors: covariance: is none: what follows from it is not finite")
    columns = np.array([_column(feature) for feature in manifest.features], np.intp)
    return Learned(manifest.nodes, manifest.cards, columns, varying, mean, deviation, tensors["covariance"], weights, spread, tensors["threshold"])


def _column(feature: Column) -> int:
    """By its name: their order may change from version to version."""
    column = COLUMN_OF.get(feature.name)
    if column is None or FEATURES[column].unit != feature.unit:
        raise BadModel(f"model.features: {feature.name[:80]!r} in {feature.unit[:80]!r} is not known to this version; train anew")
    return column
