"""The job by a command of the user's: order and model into the slice's folder, the command, then its answers."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from onnx_pipeline.base.errors import ClusterError, StagingError
from onnx_pipeline.cluster import job
from onnx_pipeline.cluster.files import files_at
from onnx_pipeline.cluster.order import MODEL, ORDER, Order
from onnx_pipeline.cluster.shipping import package
from onnx_pipeline.cluster.work import Answer

__all__ = ["submitted"]

_LAST_LINES = 5


def submitted(
    command: Sequence[str], order: Order, model: bytes, place: str, *, say: Callable[[str], None]
) -> list[Answer]:
    """What each part came to. Raises ClusterError where the command fails, or did not wait for its job."""
    files = files_at(place)
    files.write(ORDER, order.to_json().encode())
    files.write(MODEL, model)
    line = [*command, "--py-files", str(package()), str(Path(job.__file__).resolve()), f"{place}/{ORDER}"]
    last: list[str] = []
    try:
        process = subprocess.Popen(  # noqa: S603 - the command of the spec, without a shell
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        raise ClusterError(
            f"engine.submit: {command[0]!r} cannot be run ({error.strerror}); install it where the run works"
        ) from error
    with process:
        try:
            assert process.stdout is not None
            for text in process.stdout:
                if text.strip():
                    say(text.rstrip())
                    last = [*last, text.strip()][-_LAST_LINES:]
            code = process.wait()
        except BaseException:
            # A cancelled run: spark-submit ends its job where it waits for it.
            process.terminate()
            raise
    if code:
        said = " / ".join(last) or "it said nothing"
        raise ClusterError(f"{command[0]} ended with {code}, so nothing was kept: {said}")
    try:
        return job.read_answers(place)
    except StagingError as error:
        raise ClusterError(
            f"{command[0]} ended without an error and without answers ({error}): it has to wait for the job "
            "(on YARN: --conf spark.yarn.submit.waitAppCompletion=true)"
        ) from error
