"""A model's two files: safetensors and a manifest. Nothing of them is believed before the digest over both has been checked."""

import hashlib
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from gpuwarden.detector.registry.manifest import FORMAT, Document, Manifest, Shape, understood, written
from gpuwarden.detector.registry.refused import BadModel

MANIFEST: Final = "manifest.json"
TENSORS: Final = "tensors.safetensors"
MOST_MANIFEST_BYTES: Final = 16 << 20
MOST_TENSOR_BYTES: Final = 4 << 30
FLOAT_BYTES: Final = 4

Tensor = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Model:
    """Read, and found good. The tensors cannot be written to."""

    manifest: Manifest
    tensors: Mapping[str, Tensor]
    digest: str


def packed(manifest: Manifest, tensors: Mapping[str, Tensor]) -> tuple[str, Mapping[str, bytes]]:
    """(digest, content by file name). BadModel for what would be refused when it is read."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, np.ndarray) or tensor.dtype != np.float32:
            raise BadModel(f"{name}: is of {getattr(tensor, 'dtype', type(tensor).__name__)}, should be an array of float32")
        _check_finite(name, tensor)
    shapes = tuple(Shape(name, tensors[name].shape) for name in sorted(tensors))
    document = Document(FORMAT, manifest, shapes)
    body = save({name: np.asarray(tensors[name], order="C") for name in sorted(tensors)})
    digest = _digest(document, body)
    told = written(document, digest)
    if len(told) > MOST_MANIFEST_BYTES or len(body) > MOST_TENSOR_BYTES:
        raise BadModel(f"model: takes {len(told)} and {len(body)} bytes, at most {MOST_MANIFEST_BYTES} and {MOST_TENSOR_BYTES} may be")
    understood(told, Path(MANIFEST))
    return digest, {MANIFEST: told, TENSORS: body}


def read(folder: Path) -> Model:
    """BadModel names the file, the field and the reason."""
    path = folder / MANIFEST
    told = _content(path, MOST_MANIFEST_BYTES)
    document, named = understood(told, path)
    body = _content(folder / TENSORS, MOST_TENSOR_BYTES)
    digest = _digest(document, body)
    if digest != named:
        raise BadModel(f"{path}: digest: is {named[:80]}, should be {digest} after what the two files hold")
    if written(document, digest) != told:
        raise BadModel(f"{path}: is not as it was written")
    return Model(document.model, _tensors(folder / TENSORS, body, document), digest)


def _content(path: Path, most_bytes: int) -> bytes:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise BadModel(f"{path}: is no file of its own")
        if found.st_size > most_bytes:
            raise BadModel(f"{path}: has {found.st_size} bytes, at most {most_bytes} may be")
        return path.read_bytes()
    except OSError as why:
        raise BadModel(f"{path}: {why.strerror}") from why


def _digest(document: Document, body: bytes) -> str:
    """Over all that is said of the model, and its tensors: a bit that flips in either shows."""
    told = written(document)
    return hashlib.sha256(len(told).to_bytes(8) + told + body).hexdigest()


def _tensors(path: Path, body: bytes, document: Document) -> Mapping[str, Tensor]:
    wanted = {one.name: one.shape for one in document.tensors}
    try:
        found: dict[str, Any] = dict(deserialize(body))  # type: ignore[no-untyped-call]  # the library has no types there
    except SafetensorError as why:
        raise BadModel(f"{path}: cannot be read as safetensors: {why}") from why
    for name in sorted(found.keys() ^ wanted.keys()):
        raise BadModel(f"{path}: {name[:80]}: is {'missing' if name in wanted else 'there, and not in the manifest'}")
    return {name: _tensor(path, name, found[name], shape) for name, shape in wanted.items()}


def _tensor(path: Path, name: str, found: Mapping[str, Any], shape: tuple[int, ...]) -> Tensor:
    if found["dtype"] != "F32":
        raise BadModel(f"{path}: {name}: is of {found['dtype']}, should be F32")
    if tuple(found["shape"]) != shape or len(found["data"]) != FLOAT_BYTES * math.prod(shape):
        raise BadModel(f"{path}: {name}: is of shape {list(found['shape'])}, the manifest says {list(shape)}")
    tensor: Tensor = np.frombuffer(bytes(found["data"]), "<f4").reshape(shape)
    try:
        _check_finite(name, tensor)
    except BadModel as why:
        raise BadModel(f"{path}: {why}") from why
    return tensor


def _check_finite(name: str, tensor: Tensor) -> None:
    if not np.isfinite(tensor).all():
        raise BadModel(f"{name}: holds a number that is not finite")
