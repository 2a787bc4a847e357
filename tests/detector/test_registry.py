"""What was put into the registry comes out again, and nothing else does."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save

from gpuwarden.detector.registry.manifest import Column, Fitted, Manifest
from gpuwarden.detector.registry.model import MANIFEST, TENSORS, packed, read
from gpuwarden.detector.registry.refused import BadModel
from gpuwarden.detector.registry.shelf import POINTERS, Pointers, Registry

MADE_UNIX_S = 1_700_000_000.0
GOOD = Manifest(
    "borghesi", MADE_UNIX_S, 1e9, 1.6e9, ("gpu01", "gpu02"), (Column("host_load1", "1"), Column("gpu_power_watts[0]", "watts")),
    Fitted("robust", {}, ("centre", "scale")), Fitted("conformal", {"budget_per_node_day": 0.1}, ("scores",)),
)  # fmt: skip


def tensors(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"centre": (2,), "scale": (2,), "scores": (100,), "layer.0.weight": (2, 7, 3), "empty": (0, 4)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def made(seed: int) -> Manifest:
    return replace(GOOD, made_unix_s=MADE_UNIX_S + seed)


def test_a_model_comes_back_as_it_was(registry: Registry) -> None:
    model = registry.load(registry.add(GOOD, tensors()))
    assert model.manifest == GOOD
    assert model.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        np.testing.assert_array_equal(model.tensors[name], tensor)
        assert not model.tensors[name].flags.writeable


@settings(max_examples=50)
@given(st.dictionaries(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_side=4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    max_size=5,
))  # fmt: skip
def test_whatever_tensors_a_model_has_come_back(tmp_path_factory: pytest.TempPathFactory, given_tensors: dict[str, Any]) -> None:
    plain = replace(GOOD, scaler=Fitted("none", {}, ()), calibration=Fitted("none", {}, ()))
    registry = Registry(tmp_path_factory.mktemp("registry"))
    found = registry.load(registry.add(plain, given_tensors)).tensors
    assert found.keys() == given_tensors.keys()
    for name, tensor in given_tensors.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_a_new_model_is_in_the_shadow_until_it_is_promoted_and_the_way_back_is_open(registry: Registry) -> None:
    first = registry.add(made(1), tensors(1))
    assert (registry.live(), registry.pointers().shadow) == (None, first)
    assert registry.promote() == first
    second = registry.add(made(2), tensors(2))
    assert (registry.pointers().live, registry.pointers().shadow) == (first, second)
    assert registry.promote() == second
    live = registry.live()
    assert live is not None and live.manifest == made(2)
    assert registry.shadow() is None
    assert registry.roll_back() == first
    assert registry.pointers().live == first
    with pytest.raises(BadModel, match="before: is empty"):
        registry.roll_back()
    with pytest.raises(BadModel, match="shadow: is none"):
        registry.promote()


def test_the_same_model_again_is_there_once_and_no_shadow_of_itself(registry: Registry) -> None:
    first = registry.add(GOOD, tensors())
    registry.promote()
    assert registry.add(GOOD, tensors()) == first
    assert registry.ids() == [first]
    assert (registry.pointers().live, registry.pointers().shadow) == (first, None)


def test_the_newest_stay_and_whatever_is_pointed_at(tmp_path: Path) -> None:
    registry = Registry(tmp_path, kept=2)
    old = registry.add(made(0), tensors(0))
    registry.promote()
    live = registry.add(made(1), tensors(1))
    registry.promote()
    later = [registry.add(made(seed), tensors(seed)) for seed in range(2, 6)]
    assert registry.ids() == [old, live, *later[-2:]]
    registry.promote()
    assert registry.ids() == [live, *later[-2:]]
    assert registry.pointers().before == (live,)
    assert registry.roll_back() == live


def test_a_model_that_is_damaged_is_not_promoted_and_what_is_live_stays(registry: Registry, tmp_path: Path) -> None:
    first = registry.add(made(1), tensors(1))
    registry.promote()
    second = registry.add(made(2), tensors(2))
    path = tmp_path / "models" / second / TENSORS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadModel, match=r"manifest\.json: digest: "):
        registry.promote()
    assert (registry.pointers().live, registry.pointers().shadow) == (first, second)


STEPS = 7  # of making it durable: two files, their folder, the one around it, the registry's, the pointers, and once more that folder


@pytest.mark.parametrize("step", range(STEPS))
def test_who_is_killed_while_writing_leaves_what_was_there(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    first = registry.add(made(1), tensors(1))
    registry.promote()
    real, calls = os.fsync, iter(range(step))

    def killed(handle: int) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        real(handle)

    with monkeypatch.context() as dying:
        dying.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.add(made(2), tensors(2))
    assert registry.pointers().live == first
    assert all(registry.load(one) for one in registry.ids())
    second = registry.add(made(2), tensors(2))
    assert registry.pointers() == Pointers(1, first, second)
    assert registry.ids() == [first, second]
    assert not list(tmp_path.rglob("*unfinished*"))


def test_that_many_steps_make_a_model_durable(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, list[int]()
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(handle), real(handle)))
    registry.add(GOOD, tensors())
    assert len(calls) == STEPS


def test_two_writers_at_once_wait_for_each_other(tmp_path: Path) -> None:
    def add(number: int) -> str:
        return Registry(tmp_path, kept=100).add(made(number), tensors(number))

    with ThreadPoolExecutor(4) as writers:
        added = list(writers.map(add, range(32)))
    registry = Registry(tmp_path)
    assert registry.ids() == sorted(added)
    assert all(registry.load(one) for one in added)


Files = dict[str, bytes]


def sealed(told: Mapping[str, Any], body: bytes) -> Files:
    """As somebody would write it who wants it to be believed: the digest is right."""
    document = {key: value for key, value in told.items() if key != "digest"}
    plain = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
    digest = hashlib.sha256(len(plain).to_bytes(8) + plain + body).hexdigest()
    return {MANIFEST: (json.dumps(document | {"digest": digest}, indent=1, sort_keys=True) + "\n").encode(), TENSORS: body}


def changed(path: str, value: object) -> Callable[[Files], Files]:
    """The manifest with one field another, by its dotted path, and the digest put right."""

    def change(files: Files) -> Files:
        told = json.loads(files[MANIFEST])
        at: Any = told
        *outer, last = path.split(".")
        for key in outer:
            at = at[int(key) if isinstance(at, list) else key]
        at[int(last) if isinstance(at, list) else last] = value
        return sealed(told, files[TENSORS])

    return change


def with_tensors(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Files], Files]:
    return lambda files: sealed(json.loads(files[MANIFEST]), save(change(tensors())))


def header(text: str, body: bytes = b"") -> Callable[[Files], Files]:
    """A tensor file of this header."""
    return lambda files: sealed(json.loads(files[MANIFEST]), struct.pack("<Q", len(text)) + text.encode() + body)


HOSTILE: dict[str, tuple[Callable[[Files], Files], str]] = {
    "no manifest": (lambda files: {TENSORS: files[TENSORS]}, r"manifest\.json: No such file"),
    "no tensors": (lambda files: {MANIFEST: files[MANIFEST]}, r"tensors\.safetensors: No such file"),
    "no JSON": (lambda files: files | {MANIFEST: b"\xff{"}, r"manifest\.json: is not JSON"),
    "deep JSON": (lambda files: files | {MANIFEST: b"[" * 200_000}, r"manifest\.json: is not JSON"),
    "a list": (lambda files: files | {MANIFEST: b"[]"}, r"manifest\.json: should be an object"),
    "another version": (changed("format", 2), r"format: is 2, this reader knows 1"),
    "another digest": (lambda files: files | {TENSORS: save(tensors(1))}, r"manifest\.json: digest: is .*, should be "),
    "no digest": (lambda files: files | {MANIFEST: json.dumps({"format": 1}).encode()}, "digest: is None"),
    "an unknown key": (changed("model.eval", "x"), r"model\.eval: unknown key"),
    "another type": (changed("model.made_unix_s", "now"), r"model\.made_unix_s: is 'now', should be a number"),
    "no number": (changed("model.made_unix_s", float("nan")), r"model\.made_unix_s: is nan"),
    "a number beyond all": (changed("model.calibration.numbers.budget_per_node_day", 10**400), r"budget_per_node_day: is 1000"),
    "no features": (changed("model.features", []), r"model\.features: are none"),
    "a node twice": (changed("model.nodes", ["a", "a"]), r"model\.nodes: hold one twice"),
    "data from after its end": (changed("model.data_from_unix_s", 1.7e9), r"model\.data_until_unix_s: is 1600000000\.0, should be after"),
    "a way out": (changed("tensors.0.name", "../../etc/passwd"), r"tensors\[0\]\.name: is '\.\./\.\./etc/passwd'"),
    "a huge shape": (changed("tensors.0.shape", [2**60, 2**60]), r"tensors\.safetensors: .*: is of shape \[2\], the manifest says \[1152921504606846976"),
    "a negative shape": (changed("tensors.0.shape", [-1]), r"tensors\[0\]\.shape: is \[-1\]"),
    "too many axes": (changed("tensors.0.shape", [1] * 99), r"tensors\[0\]\.shape: .* at most 8"),
    "a tensor that is not there": (changed("tensors.0.name", "other"), "scaler.tensors: name 'centre', which is not among|other: is missing"),
    "a tensor less": (with_tensors(lambda t: {k: v for k, v in t.items() if k != "empty"}), r"tensors\.safetensors: empty: is missing"),
    "a tensor more": (with_tensors(lambda t: t | {"x": t["scale"]}), r"tensors\.safetensors: x: is there, and not in the manifest"),
    "another dtype": (with_tensors(lambda t: t | {"scale": t["scale"].view(np.int32)}), r"scale: is of I32, should be F32"),
    "doubles": (with_tensors(lambda t: t | {"scale": t["scale"].astype(np.float64)}), r"scale: is of F64"),
    "another shape": (with_tensors(lambda t: t | {"scale": t["scale"][None]}), r"scale: is of shape \[1, 2\], the manifest says \[2\]"),
    "NaN": (with_tensors(lambda t: t | {"scale": t["scale"] * np.float32("nan")}), r"scale: holds a number that is not finite"),
    "infinity": (with_tensors(lambda t: t | {"scale": t["scale"] * np.float32("inf")}), r"scale: holds a number that is not finite"),
    "not safetensors": (header("{", b""), r"tensors\.safetensors: cannot be read as safetensors"),
    "a huge header": (lambda files: sealed(json.loads(files[MANIFEST]), struct.pack("<Q", 2**63) + b"{}"), "cannot be read as safetensors"),
    "offsets outside": (header('{"centre":{"dtype":"F32","shape":[2],"data_offsets":[0,800]}}', b"0" * 8), "cannot be read as safetensors"),
    "offsets that overlap": (
        header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b"0" * 8),
        "cannot be read as safetensors",
    ),
    "a shape that overflows": (
        header('{"centre":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}', b"0" * 8), "cannot be read as safetensors"
    ),
    "a pickle": (lambda files: sealed(json.loads(files[MANIFEST]), b"\x80\x04cos\nsystem\n(S'touch x'\ntR."), "cannot be read as safetensors"),
    "spaces": (lambda files: files | {MANIFEST: files[MANIFEST].replace(b"\n ", b"\n  ", 1)}, r"manifest\.json: is not as it was written"),
}  # fmt: skip


def lie(folder: Path, files: Files) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_a_good_model_is_refused_with_its_file_and_field(tmp_path: Path, case: str) -> None:
    change, told = HOSTILE[case]
    _, files = packed(GOOD, tensors())
    with pytest.raises(BadModel, match=told):
        read(lie(tmp_path / "m", change(dict(files))))


def test_a_file_that_is_a_link_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, files = packed(GOOD, tensors())
    folder = lie(tmp_path / "m", dict(files))
    (folder / TENSORS).rename(tmp_path / "elsewhere")
    (folder / TENSORS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadModel, match=r"tensors\.safetensors: is no file of its own"):
        read(folder)
    (folder / TENSORS).unlink()
    os.mkfifo(folder / TENSORS)
    with pytest.raises(BadModel, match=r"tensors\.safetensors: is no file of its own"):
        read(folder)
    os.truncate(folder / MANIFEST, (16 << 20) + 1)
    with pytest.raises(BadModel, match=r"manifest\.json: has 16777217 bytes, at most 16777216 may be"):
        read(folder)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_or_a_bit_that_flips_never_loads_and_never_crashes(data: st.DataObject, tmp_path: Path) -> None:
    _, files = packed(GOOD, tensors())
    name = data.draw(st.sampled_from([MANIFEST, TENSORS]))
    body = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        if data.draw(st.booleans()):
            body[at] ^= 1 << data.draw(st.integers(0, 7))
        elif at:
            del body[at:]
    if bytes(body) != files[name]:
        with pytest.raises(BadModel):
            read(lie(tmp_path / "m", dict(files) | {name: bytes(body)}))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tensor_file_that_is_not_ours_is_refused_though_its_digest_is_right(data: st.DataObject, tmp_path: Path) -> None:
    """Behind the digest every other check stands alone."""
    _, files = packed(GOOD, tensors())
    body = bytearray(files[TENSORS])
    size = struct.unpack("<Q", body[:8])[0]
    at = data.draw(st.integers(0, 8 + size - 1))  # its header: what follows are numbers, of which any finite one may be
    body[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        model = read(lie(tmp_path / "m", sealed(json.loads(files[MANIFEST]), bytes(body))))
    except BadModel:
        return
    assert {name: tensor.shape for name, tensor in model.tensors.items()} == {name: tensor.shape for name, tensor in tensors().items()}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"scale": np.zeros(2)}, "scale: is of float64, should be an array of float32"),
        ({"scale": [0.0, 1.0]}, "scale: is of list"),
        ({"scale": np.array([np.nan, 0], np.float32)}, "scale: holds a number that is not finite"),
        ({"../x": np.zeros(2, np.float32)}, "name: is '../x'"),
    ],
)
def test_what_would_not_load_is_not_put_in(registry: Registry, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(BadModel, match=told):
        registry.add(GOOD, tensors() | wrong)
    assert registry.ids() == []


def test_a_manifest_that_cannot_be_is_not_put_in(registry: Registry) -> None:
    with pytest.raises(BadModel, match=r"model\.kind: is 'a b'"):
        registry.add(replace(GOOD, kind="a b"), tensors())
    with pytest.raises(BadModel, match=r"model\.scaler\.tensors: name 'none'"):
        registry.add(replace(GOOD, scaler=Fitted("robust", {}, ("none",))), tensors())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "pointers.json: "),
        ('{"format": 2}', "format: is 2, this reader knows 1"),
        ('{"format": 1, "live": "../../etc"}', r"live: is '\.\./\.\./etc', should be the id of a model"),
        ('{"format": 1, "live": 7}', "live: is 7, should be text"),
        ('{"format": 1, "lives": "x"}', "lives: unknown key; did you mean live?"),
    ],
)
def test_pointers_that_cannot_be_are_refused(registry: Registry, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / POINTERS).write_text(text)
    with pytest.raises(BadModel, match=told.replace("?", r"\?")):
        registry.live()


def test_an_id_is_no_path(registry: Registry) -> None:
    with pytest.raises(BadModel, match="is no id of a model"):
        registry.load("../../etc")
