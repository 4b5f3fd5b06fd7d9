"""What is registered for the external language takes any number of rows by itself, one and many."""

from collections.abc import Callable

import numpy as np
import pytest

from onnx_pipeline.models import OnnxModel
from onnx_pipeline_tests.extension import models
from onnx_pipeline_tests.extension.abi import REAL
from onnx_pipeline_tests.extension.host import Column, Extension, ExtensionError, values_of

ROWS = np.float32([[1, 2], [1e4, -3], [0.5, 0.25], [7, 7], [-1, 0]])
COLUMNS = [Column("a", REAL), Column("b", REAL)]


@pytest.mark.parametrize("sizes", [[1], [5], [1, 1, 3], [4, 1]])
@pytest.mark.parametrize("make", [models.squeezed, models.quantised])
def test_each_row_gets_its_answer_in_any_chunks(
    extension: Extension, make: Callable[[], bytes], sizes: list[int]
) -> None:
    rows = ROWS[: sum(sizes)]
    pieces = np.split(rows, np.cumsum(sizes)[:-1])
    with extension.session(COLUMNS, OnnxModel.from_bytes(make()).normalised) as session:
        (found,) = values_of([session.execute(piece.T.tolist()) for piece in pieces])
    assert found == pytest.approx(models.one_by_one(make(), rows), rel=1e-5)


def test_the_model_as_it_came_refuses_one_row_by_its_shape(extension: Extension) -> None:
    with extension.session(COLUMNS, models.squeezed()) as session:
        with pytest.raises(ExtensionError, match=r"output .*y.* expected one row for each of the 1 rows"):
            session.execute([[1.0], [2.0]])
