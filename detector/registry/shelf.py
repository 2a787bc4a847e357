"""Models on disk, which of them is live, which in its shadow, and the way back.

`<folder>/models/<time>-<digest>/` holds a model's two files, and appears whole or not at all. `<folder>/pointers.json` says which one is live, which
in the shadow, and which were live before. It is replaced in one step, so that no reader sees half of a promotion. Who writes holds a lock.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gpuwarden.core.config import ConfigError, option, parse
from gpuwarden.core.durable import sync_folder, write_durable
from gpuwarden.detector.registry.manifest import FORMAT, Manifest
from gpuwarden.detector.registry.model import Model, Tensor, packed, read
from gpuwarden.detector.registry.refused import BadModel

POINTERS: Final = "pointers.json"
ID: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")
KEPT: Final = 5


@dataclass(frozen=True, slots=True)
class Pointers:
    """Ids of models."""

    format: int = option("version of this file")
    live: str | None = option("the model that judges", default=None)
    shadow: str | None = option("the model that is tried beside it", default=None)
    before: tuple[str, ...] = option("those that were live, oldest first", default=())

    def problems(self) -> Iterator[str]:
        """What the types cannot say."""
        if self.format != FORMAT:
            yield f"format: is {self.format}, this reader knows {FORMAT}"
        for key, ids in (("live", (self.live,)), ("shadow", (self.shadow,)), ("before", self.before)):
            if bad := [one for one in ids if one is not None and not ID.fullmatch(one)]:
                yield f"{key}: is {bad[0]!r}, should be the id of a model"


class Registry:
    """Models in a folder. Raises BadModel for what is there and cannot be used, OSError where the folder cannot be written to."""

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        """`kept`: so many of the newest stay, and always the live one, its shadow, and the one that was live before."""
        self._folder, self._kept = folder, kept

    def add(self, manifest: Manifest, tensors: Mapping[str, Tensor]) -> str:
        """Its id. It becomes the shadow of the live model; the same one again is there once."""
        digest, content = packed(manifest, tensors)
        model_id = f"{datetime.fromtimestamp(manifest.made_unix_s, UTC):%Y%m%dT%H%M%SZ}-{digest[:12]}"
        with self._writing() as pointers:
            self._put(model_id, content)
            self._point(replace(pointers, shadow=None if model_id == pointers.live else model_id))
        return model_id

    def promote(self) -> str:
        """The id of the shadow, which is now live. It is read once more first: what cannot be read never goes live."""
        with self._writing() as pointers:
            if pointers.shadow is None:
                raise BadModel(f"{self._pointers}: shadow: is none, so that nothing can be promoted")
            self.load(pointers.shadow)
            before = (*pointers.before, *([pointers.live] if pointers.live else []))
            self._point(replace(pointers, live=pointers.shadow, shadow=None, before=before))
            return pointers.shadow

    def roll_back(self) -> str:
        """The id of the model that was live before, and is again. The one that was live is nobody's shadow: it would be promoted once more."""
        with self._writing() as pointers:
            if not pointers.before:
                raise BadModel(f"{self._pointers}: before: is empty, so that there is nothing to go back to")
            *before, last = pointers.before
            self.load(last)
            self._point(replace(pointers, live=last, before=tuple(before)))
            return last

    def live(self) -> Model | None:
        pointer = self.pointers().live
        return None if pointer is None else self.load(pointer)

    def shadow(self) -> Model | None:
        pointer = self.pointers().shadow
        return None if pointer is None else self.load(pointer)

    def load(self, model_id: str) -> Model:
        if not ID.fullmatch(model_id):
            raise BadModel(f"{self._folder}: {model_id!r} is no id of a model")
        return read(self._models / model_id)

    def ids(self) -> list[str]:
        """Of all models that are there, oldest first."""
        return sorted(path.name for path in self._models.glob("*") if ID.fullmatch(path.name))

    def pointers(self) -> Pointers:
        if not self._pointers.exists():
            return Pointers(FORMAT)
        try:
            return parse(json.loads(self._pointers.read_bytes()), Pointers, str(self._pointers))
        except (ConfigError, OSError, ValueError, RecursionError) as why:
            raise BadModel(f"{self._pointers}: {why}") from why

    @property
    def _models(self) -> Path:
        return self._folder / "models"

    @property
    def _pointers(self) -> Path:
        return self._folder / POINTERS

    @contextmanager
    def _writing(self) -> Iterator[Pointers]:
        self._models.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.pointers()
        finally:
            os.close(lock)

    def _put(self, model_id: str, content: Mapping[str, bytes]) -> None:
        place, unfinished = self._models / model_id, self._models / f".{model_id}.unfinished"
        for left in self._models.glob(".*.unfinished"):  # by who was killed here
            shutil.rmtree(left)
        if place.exists():
            return
        unfinished.mkdir()
        for name, body in content.items():
            write_durable(unfinished / name, body)
        sync_folder(unfinished)
        unfinished.rename(place)
        sync_folder(self._models)
        sync_folder(self._folder)

    def _point(self, pointers: Pointers) -> None:
        """Durable on return. What nobody will ask for any more goes after that."""
        gone = self._unwanted(pointers)
        pointers = replace(pointers, before=tuple(one for one in pointers.before if one not in gone))
        told = {key: value for key, value in asdict(pointers).items() if value is not None}
        unfinished = self._folder / f".{POINTERS}.unfinished"
        write_durable(unfinished, (json.dumps(told, indent=1) + "\n").encode())
        unfinished.replace(self._pointers)
        sync_folder(self._folder)
        for model_id in gone:
            shutil.rmtree(self._models / model_id)

    def _unwanted(self, pointers: Pointers) -> set[str]:
        ids = self.ids()
        return set(ids) - {pointers.live, pointers.shadow, *pointers.before[-1:], *ids[len(ids) - self._kept :]}

