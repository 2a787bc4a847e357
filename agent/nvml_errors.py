"""What NVML's error codes mean for who reads: a card is lost, the session is over, or a call does not exist here."""

from typing import Final

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

LOST: Final = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED, pynvml.NVML_ERROR_GPU_NOT_FOUND)
OVER: Final = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)
ABSENT: Final = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
)


def reason(error: pynvml.NVMLError) -> str:
    """The error's name; its text would need another call of the library."""
    return type(error).__name__.removeprefix("NVMLError_") if type(error) is not pynvml.NVMLError else f"error {error.value}"
