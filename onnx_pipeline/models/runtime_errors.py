"""What ONNX Runtime's errors mean here: its exceptions share no base class, and say most of it in their text."""

import re
from collections.abc import Sequence

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from onnx_pipeline.base.errors import (
    DataError,
    InvalidModelError,
    OnnxPipelineError,
    OutOfMemoryError,
    RuntimeUnavailableError,
    SpecError,
    UnsupportedModelError,
)
from onnx_pipeline.models.providers import Provider

__all__ = ["ORT_ERRORS", "PROVIDER_ERRORS", "at_load", "at_run", "is_allocation_failure", "of_provider_options"]

ORT_ERRORS: tuple[type[Exception], ...] = (
    *(error for error in vars(ort_errors).values() if isinstance(error, type) and issubclass(error, Exception)),
    MemoryError,
)
"""What loading and running may raise; its binding makes a MemoryError of std::bad_alloc."""

PROVIDER_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, RuntimeError, ValueError)
"""What it raises, too, of execution providers at load, and of whatever fails in a run with bound tensors."""

_ALLOCATION = re.compile(r"failed to allocate memory|bad_alloc|bad allocation|bfcarena|out of memory", re.IGNORECASE)
_OPTION = re.compile(r"(?:Unknown|Failed to parse) provider option.*", re.IGNORECASE)
_LIBRARY = re.compile(r"Failed to load library.*|Please install.*|cannot open shared object.*", re.IGNORECASE)
_DEVICE = re.compile(r"(?:CUDA|CUDNN|CUBLAS|CURAND|HIP|MIOPEN)\w* (?:failure|error).*", re.IGNORECASE)
"""What is wrong with a device or its driver, and with no model and no row."""
_LOCALE = re.compile(r"Failed to construct locale with name:\s*(?P<name>[\w.@-]+?):")


def is_allocation_failure(error: Exception | str) -> bool:
    """Whether what ONNX Runtime or the C++ runtime says is that no memory was left."""
    return isinstance(error, MemoryError) or _ALLOCATION.search(str(error)) is not None


def at_load(error: Exception, source: str) -> OnnxPipelineError:
    """The error for a model that does not load."""
    text = str(error)
    locale = _LOCALE.search(text)
    if locale is not None:
        return missing_locale(locale["name"], source)
    if is_allocation_failure(error):
        return OutOfMemoryError(
            f"there was no memory to load {source}: {error}. Give this process more memory, or end what else uses it"
        )
    if isinstance(error, ort_errors.NotImplemented):
        return UnsupportedModelError(
            f"ONNX Runtime {ort.__version__} cannot run {source}: {error}. Upgrade ONNX Runtime, or export "
            "the model to an opset and dtypes that it has"
        )
    return InvalidModelError(
        f"ONNX Runtime {ort.__version__} refuses {source}: {error}. Export the model again, or upgrade "
        "ONNX Runtime if the message speaks of a newer opset or IR version"
    )


def of_provider_options(error: Exception, providers: Sequence[Provider]) -> OnnxPipelineError | None:
    """The error for options that an execution provider does not take, or libraries and a device that it does not get.

    None where the text of the error speaks of none of these.
    """
    text = str(error)
    if not providers or is_allocation_failure(error):
        return None
    named = ", ".join(map(str, providers))
    if option := _OPTION.search(text):
        return SpecError(
            f"an execution provider refuses its options ({named}): {option[0]} Correct them in `providers`; "
            "https://onnxruntime.ai/docs/execution-providers/ lists those of each"
        )
    if found := _LIBRARY.search(text) or _DEVICE.search(text):
        return RuntimeUnavailableError(
            f"an execution provider did not start ({named}): {found[0]} Check the device, its driver and libraries, or "
            "name another provider in `providers`"
        )
    return None


def missing_locale(name: str, source: str) -> RuntimeUnavailableError:
    """The error for a StringNormalizer whose locale the machine lacks.

    What is named is the locale's own package of Debian and Ubuntu: https://wiki.debian.org/Locale
    """
    return RuntimeUnavailableError(
        f"{source} changes the case of text by the rules of the locale {name} (operator StringNormalizer), which this "
        f"machine does not have, so the model does not load. Install it, on Debian and Ubuntu by `apt-get install "
        f"locales && sed -i 's/^# *{name} /{name} /' /etc/locale.gen && locale-gen`, or export the model with a "
        "locale that `locale -a` lists"
    )


def at_run(error: Exception, rows: int) -> OnnxPipelineError:
    """The error for rows that a model does not take."""
    if is_allocation_failure(error):
        return OutOfMemoryError(
            f"there was no memory to score {rows:,} row{'s' * (rows != 1)} at once: {error}. Give this process more "
            "memory, or end what else uses it"
        )
    if failed := _DEVICE.search(str(error)):
        return RuntimeUnavailableError(
            f"the device failed while it scored {rows:,} row{'s' * (rows != 1)}: {failed[0]} Check the device and its "
            "driver; a process that met this needs to be started again"
        )
    return DataError(
        f"the model refuses these rows: {error}. A value lies outside what the model was trained on or "
        "can index; filter or repair such rows in the source query"
    )
