"""The few functions of CUDA's runtime library that moving rows takes: page-locked memory, and copies into a device's.

ONNX Runtime's Python API hands out no page-locked memory, and copies under Python's lock. What `ctypes` calls here runs
without it, so that one batch is copied while another is packed.
https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__MEMORY.html
"""

import ctypes
import sys
import weakref
from functools import lru_cache
from typing import Any

import numpy as np

from onnx_pipeline.base.errors import OutOfMemoryError, RuntimeUnavailableError

__all__ = ["Runtime", "runtime_library"]

_NAMES = {
    "linux": ("libcudart.so.13", "libcudart.so.12"),
    "win32": ("cudart64_13.dll", "cudart64_12.dll"),
}
_PORTABLE = 1
"""Page-locked for every context of the process."""
_TO_DEVICE = 1
_NO_MEMORY = 2


class Runtime:
    """CUDA's runtime library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p
        library.cudaHostAlloc.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_uint]
        library.cudaFreeHost.argtypes = [ctypes.c_void_p]
        library.cudaMemcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def use(self, device: int) -> None:
        """This thread works with that device from here on."""
        self._checked(self._library.cudaSetDevice(device), f"device {device} cannot be used")

    def pinned(self, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """`[size]` bytes of page-locked memory, given back with the last array over them.

        Raises OutOfMemoryError.
        """
        address = ctypes.c_void_p()
        code = self._library.cudaHostAlloc(ctypes.byref(address), max(1, size), _PORTABLE)
        self._checked(code, f"{size:,} bytes of page-locked memory cannot be had")
        buffer = (ctypes.c_uint8 * max(1, size)).from_address(address.value or 0)
        weakref.finalize(buffer, self._library.cudaFreeHost, address)
        memory: np.ndarray[Any, np.dtype[np.uint8]] = np.ctypeslib.as_array(buffer)
        return memory

    def to_device(self, target: int, source: np.ndarray[Any, Any]) -> None:
        """Copies a contiguous array to an address of the device, and waits for it."""
        code = self._library.cudaMemcpy(target, source.ctypes.data, source.nbytes, _TO_DEVICE)
        self._checked(code, f"{source.nbytes:,} bytes cannot be copied to the device")

    def _checked(self, code: int, what: str) -> None:
        if code == 0:
            return
        said = (self._library.cudaGetErrorString(code) or b"").decode()
        if code == _NO_MEMORY:
            raise OutOfMemoryError(f"{what}: {said}. End what else uses that memory, or lower `batch_rows`")
        raise RuntimeUnavailableError(f"{what}: CUDA error {code}, {said}; check the device and its driver")


@lru_cache(maxsize=1)
def runtime_library() -> Runtime | None:
    """The library that the session's provider has loaded; None where there is none by a known name."""
    libraries = (_loaded(name) for name in _NAMES.get(sys.platform, ()))
    return next((Runtime(library) for library in libraries if library is not None), None)


def _loaded(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
