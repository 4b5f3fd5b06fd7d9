"""Releases of ONNX Runtime that answer wrongly."""

from onnx_pipeline.base.errors import RuntimeUnavailableError

__all__ = ["WRONG_SERIES", "check_version"]

WRONG_SERIES = ("1.26", "1.27")
"""`pyproject.toml` and the other lists of requirements leave these out, and the external language refuses them.

Of all releases from 1.20.0 to 1.32.0, 1.26.0 and 1.27.0 differ from scikit-learn: in trees and forests of two
classes that are grown to pure leaves all probabilities, and in a forest of 100 trees 245 of 500 labels.
"""


def check_version(version: str, *, where: str) -> None:
    """Raises RuntimeUnavailableError for a release that answers wrongly. `where` says where it was found."""
    if any(version.startswith(f"{series}.") for series in WRONG_SERIES):
        wanted = ",".join(f"!={series}.*" for series in WRONG_SERIES)
        raise RuntimeUnavailableError(
            f"{where} is ONNX Runtime {version}, which silently gives wrong labels and probabilities for trees and "
            f"forests of two classes (245 of 500 of a forest's); install another: pip install 'onnxruntime{wanted}'"
        )
