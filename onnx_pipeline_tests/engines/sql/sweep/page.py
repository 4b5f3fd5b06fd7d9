"""The page docs/compiled-models.md, of what becomes of each estimator on its way into SQL.

Written anew by `python -m onnx_pipeline_tests.engines.sql.sweep.page`; test_sweep.py says whether it is up to date.
"""

import logging
from collections.abc import Iterator
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from onnx_pipeline.base.errors import InvalidModelError, NotCompilableError, SignatureError, UnsupportedModelError
from onnx_pipeline_tests.engines.sql.oracle import compiled, read
from onnx_pipeline_tests.engines.sql.sweep.cases import Case, exported
from onnx_pipeline_tests.engines.sql.sweep.estimators import CASES

PAGE = Path(__file__).parents[4] / "docs" / "compiled-models.md"
EXPORTERS = ("scikit-learn", "skl2onnx", "onnxruntime")
KEPT = "LightGBM 4.7.0, XGBoost 3.2.0, CatBoost 1.2.10, onnxmltools 1.16.0 and PyTorch 2.14.1"
"""As the `make.py` beside each says."""

_INTRODUCTION = """# Compiled models

Which estimators the engine `sql` makes a SELECT of. The page is written by a script from the same table that the tests
go through: each estimator is fitted on small data, exported, compiled, and where it compiles, compared on DuckDB with
ONNX Runtime, row by row: on random rows, zeros, large numbers, rows of the training data, missing values where the model
takes them, and unseen and empty categories.

- **compiled**: labels are equal, and floats agree within 1e-5 relative (support vector machines 1e-4 absolute).
- **refused**: the operator that has no form in SQL, or a limit. Score such a model by `kind: onnxruntime`.
- **no table**: no engine scores it, since what the exporter made has no answer per row; the reason is the message.
- **not exported**: the exporter has no converter for it, or not for these settings.
"""


def versions() -> str:
    """What the page was made with."""
    return ", ".join(f"{name} {version(name)}" for name in EXPORTERS)


def outcome(case: Case) -> str:
    """What becomes of an estimator, as the page's row ends."""
    try:
        data = exported(case)
    except RuntimeError as error:  # which skl2onnx's own errors are
        return f"not exported: {_line(error)}"
    try:
        model = read(data)
    except (InvalidModelError, UnsupportedModelError) as error:
        return f"no table: {_line(error)}"
    columns = {
        tensor.name: [f"{tensor.name}_{place}" for place in range(tensor.shape[1])] for tensor in model.signature.inputs
    }
    try:
        compiled(model, columns)
    except NotCompilableError as error:
        return f"refused: {_line(error)}"
    except SignatureError as error:
        return f"no table: {_line(error)}"
    return "compiled"


def _line(error: Exception) -> str:
    """The first sentence of a message, without what differs from run to run."""
    if type(error).__name__ in ("MissingConverter", "MissingShapeCalculator"):
        return "there is no converter"
    text = str(error).splitlines()[0].split(". ")[0].split("; ")[0]
    return text.replace("|", "/").strip().rstrip(".")[:200]


def row(case: Case) -> str:
    """An estimator's line of the page."""
    word, _, reason = outcome(case).partition(": ")
    return f"| {case.name} | {case.exporter} | {word} | {reason} |"


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield f"Made with {versions()}."
    yield f"Models of other exporters were kept from {KEPT}."
    for group, cases in groupby(CASES.values(), lambda case: case.group):
        yield f"\n## {group}\n"
        yield "| Estimator | Exporter | In SQL | Why not |"
        yield "| --- | --- | --- | --- |"
        yield from map(row, cases)


if __name__ == "__main__":
    logging.disable()
    PAGE.write_text(page(), encoding="utf-8")
