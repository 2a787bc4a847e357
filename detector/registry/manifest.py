"""What is known of a model beside its tensors: of what it was made, for whom, and how its numbers are to be read."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from gpuwarden.core.config import ConfigError, option, parse
from gpuwarden.detector.registry.refused import BadModel

FORMAT: Final = 1
DIGEST: Final = "digest"
MOST_TENSORS: Final = 4096
MOST_AXES: Final = 8
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")  # never a way out of a folder, whatever becomes of it


@dataclass(frozen=True, slots=True)
class Column:
    """One feature, as `detector.past.features` names it."""

    name: str = option("its name")
    unit: str = option("its base unit, 1 for a bare number")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A step that was fitted beside the model: its kind, single numbers by name, and which of the tensors are its own."""

    kind: str = option("which step, as the model's code knows it")
    numbers: Mapping[str, float] = option("single numbers by name")
    tensors: tuple[str, ...] = option("names of the tensors that are its own")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model's maker says of it. Times are seconds since 1970 UTC."""

    kind: str = option("which model, as the detector's table of models names it")
    made_unix_s: float = option("when it was made")
    data_from_unix_s: float = option("begin of the data that it was made of")
    data_until_unix_s: float = option("end of the data, after its begin")
    nodes: tuple[str, ...] = option("nodes that it was made of")
    features: tuple[Column, ...] = option("its inputs, in their order")
    scaler: Fitted = option("how inputs are brought to one scale")
    calibration: Fitted = option("how scores become probabilities")
    cards: tuple[tuple[str, ...], ...] = option("of each node the ids of its cards, in the order of their features; none: of none", default=())

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if not NAME.fullmatch(self.kind):
            yield f"kind: is {self.kind!r}, should be a word"
        if not 0 <= self.data_from_unix_s < self.data_until_unix_s:
            yield f"data_until_unix_s: is {self.data_until_unix_s}, should be after data_from_unix_s ({self.data_from_unix_s})"
        if not 0 <= self.made_unix_s < LAST_UNIX_S:
            yield f"made_unix_s: is {self.made_unix_s}, should be 0 to {LAST_UNIX_S}"
        for name, values in (("nodes", self.nodes), ("features", [column.name for column in self.features])):
            if not values or len(set(values)) < len(values):
                yield f"{name}: {'are none' if not values else 'hold one twice'}"
        if self.cards and len(self.cards) != len(self.nodes):
            yield f"cards: are of {len(self.cards)} nodes, should be of {len(self.nodes)}, or of none"


LAST_UNIX_S: Final = 253_402_300_800.0  # the year 10000, for which a name has no room


@dataclass(frozen=True, slots=True)
class Shape:
    """A tensor of the file, float32."""

    name: str = option("its name")
    shape: tuple[int, ...] = option("its lengths, outermost first")

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if not NAME.fullmatch(self.name):
            yield f"name: is {self.name!r}, should be of letters, digits, _ . and -, beginning with a letter or digit"
        if len(self.shape) > MOST_AXES or any(length < 0 for length in self.shape):
            yield f"shape: is {list(self.shape)}, should be at most {MOST_AXES} lengths of 0 or more"


@dataclass(frozen=True, slots=True)
class Document:
    """The manifest's file."""

    format: int = option(f"version of these files, {FORMAT}")
    model: Manifest = option("what its maker says")
    tensors: tuple[Shape, ...] = option("every tensor of the file beside it")

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        names = {one.name for one in self.tensors}
        if len(names) < len(self.tensors) or len(names) > MOST_TENSORS:
            yield f"tensors: are {len(self.tensors)} with {len(names)} names, should be at most {MOST_TENSORS}, each named once"
        for step in ("scaler", "calibration"):
            fitted: Fitted = getattr(self.model, step)
            for name in fitted.tensors:
                if name not in names:
                    yield f"model.{step}.tensors: name {name!r}, which is not among the tensors"


def written(document: Document, digest: str | None = None) -> bytes:
    """The one way in which it is written; with `digest` as it lies on disk, without as it counts in that digest."""
    told = asdict(document) | ({} if digest is None else {DIGEST: digest})
    return (json.dumps(told, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


def understood(told: bytes, path: Path) -> tuple[Document, str]:
    """The document and the digest that it names. BadModel names the path, the field and the reason."""
    document = _json(told, path)
    if document.get("format") != FORMAT:
        raise BadModel(f"{path}: format: is {_shown(document.get('format'))}, this reader knows {FORMAT}")
    digest = document.pop(DIGEST, None)
    if not isinstance(digest, str):
        raise BadModel(f"{path}: {DIGEST}: is {_shown(digest)}, should be text")
    try:
        parsed = parse(document, Document, str(path))
    except ConfigError as why:
        raise BadModel(str(why)) from why
    return parsed, digest


def _json(told: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(told)
    except (ValueError, RecursionError) as why:
        raise BadModel(f"{path}: is not JSON: {why}") from why
    if not isinstance(document, dict):
        raise BadModel(f"{path}: should be an object")
    return document


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
