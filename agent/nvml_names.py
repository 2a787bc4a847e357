"""Calls of NVML past pynvml: the first ones, of which it knows the newest names only, and that for many fields, which it makes slow."""

import ctypes
from collections.abc import Callable
from typing import Any, TypeVar

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

T = TypeVar("T")


def init() -> None:
    """Loads and initialises the library; NVMLError where that cannot be."""

    def older() -> None:
        _call(("nvmlInit_v2", "nvmlInit"))

    _newest(pynvml.nvmlInit, older)


def count() -> int:
    """How many cards the driver has."""

    def older() -> int:
        cards = ctypes.c_uint()
        _call(("nvmlDeviceGetCount",), ctypes.byref(cards))
        return cards.value

    return int(_newest(pynvml.nvmlDeviceGetCount, older))


def handle(index: int) -> Any:
    """What every other call wants of a card."""

    def older() -> Any:
        card = pynvml.c_nvmlDevice_t()
        _call(("nvmlDeviceGetHandleByIndex",), ctypes.c_uint(index), ctypes.byref(card))
        return card

    return _newest(lambda: pynvml.nvmlDeviceGetHandleByIndex(index), older)


def fields(asked: tuple[tuple[int, int], ...]) -> Any:
    """An array that asks for (number, scope) each. pynvml fills one for every call, an attribute at a time: most of what a pass costs."""
    made = (pynvml.c_nvmlFieldValue_t * len(asked))()
    for one, (number, scope) in zip(made, asked, strict=True):
        one.fieldId, one.scopeId = number, scope
    return made


def read_fields(card: Any, made: Any) -> Any:
    """`made` anew, with the card's answers."""
    answers = type(made).from_buffer_copy(made)
    _call(("nvmlDeviceGetFieldValues",), card, ctypes.c_int(len(answers)), answers)
    return answers


def _newest(newest: Callable[[], T], older: Callable[[], T]) -> T:
    try:
        return newest()
    except pynvml.NVMLError_FunctionNotFound:
        return older()


def _call(names: tuple[str, ...], *arguments: object) -> None:
    """The first of `names` that the loaded library has."""
    function = next((f for name in names if (f := getattr(pynvml.nvmlLib, name, None)) is not None), None)
    if function is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    code = function(*arguments)
    if code != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(code)
