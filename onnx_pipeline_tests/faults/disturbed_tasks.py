"""What a task of a real cluster meets once it has written its part, and before it has told so."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["answers_that"]


def answers_that(how: str, folder: Path) -> Callable[[str, str, Any], Iterator[Any]]:
    """In place of `cluster.spark._answers`: the same, and then a task `fails`, `loses its executor`, and so on.

    In the folder lies a file of each attempt that has written (`flags`), and `killed` once somebody is.
    """
    home = str(folder)

    # It travels to the workers by its value, so it imports what it uses.
    def answers(order: str, model: str, batches: Any) -> Iterator[Any]:
        import os
        import signal
        import time
        from pathlib import Path

        import psutil
        from pyspark import TaskContext

        from onnx_pipeline.cluster.spark import _answers

        context = TaskContext.get()
        part, attempt = context.partitionId(), context.attemptNumber()
        for answer in _answers(order, model, batches):
            flags = Path(home) / "flags"
            flags.mkdir(exist_ok=True)
            (flags / f"{order}-{part}-{attempt}").touch()
            if how == "fails" and attempt == 0:
                raise OSError("No space left on device")
            if how == "loses its Python worker" and attempt == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "loses its executor" and not (Path(home) / "killed").exists():
                (Path(home) / "killed").touch()
                jvm = next(each for each in psutil.Process().parents() if each.name() == "java")
                jvm.kill()
                time.sleep(60)  # the end of the executor ends this, too
            if how == "runs twice" and part == 0:
                deadline = time.monotonic() + 90
                while len(list(flags.glob(f"{order}-{part}-*"))) < 2:
                    assert time.monotonic() < deadline, "nobody ran it again"
                    time.sleep(0.05)
            if how == "loses a worker":
                while not (Path(home) / "killed").exists():
                    time.sleep(0.05)
            yield answer

    return answers
