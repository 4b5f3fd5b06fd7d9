"""The SQL Server pool on an imitated server: what holds for it alone. `test_contract.py` has what holds for all."""

import pyarrow as pa
import pytest

from onnx_pipeline.base.errors import KeyColumnError, PoolError
from onnx_pipeline.pools.rows import StagedRows
from onnx_pipeline_tests.pools.conftest import STAGED, load, rows_of, slice_of, target_of

COUNTS = "SELECT partition_key, run_id, score, count(*) FROM predictions GROUP BY ALL ORDER BY ALL"


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
@pytest.mark.parametrize(("ids", "found"), [([1, 1, 2], (0, 1)), ([1, None, 2], (1, 0))])
def test_a_key_that_is_null_or_not_unique_is_found_before_the_swap(server, imitated, mode, ids, found):
    rows = pa.table({"id": ids, "score": [1.0] * 3, "label": ["a"] * 3}, schema=STAGED)
    told = []
    target = target_of()
    imitated.ensure_target(target)
    server.statements.clear()
    with pytest.raises(KeyColumnError):
        list(imitated.load(target, iter([slice_of(rows)]), mode, told.append))
    assert [(piece.null_keys, piece.duplicate_keys) for piece in told] == [found]
    assert not any(statement.startswith("BEGIN") for statement in server.statements)
    assert server.staging_tables() == []


def test_a_refusing_verification_rolls_everything_back(server, imitated):
    load(imitated, slice_of(rows_of(0, 100, 1.0)))

    def refuse(_):
        raise KeyError("refused")

    with pytest.raises(KeyError):
        list(imitated.load(target_of(), iter([slice_of(rows_of(0, 9, 2.0), run_id="run-2")]), "replace", refuse))
    assert server.rows(COUNTS) == [("2026-01-01", "run-1", 1.0, 100)]
    assert imitated.scoring_log("scoring")["2026-01-01"].run_id == "run-1"
    assert server.staging_tables() == []
    assert not server.locks


def test_a_failing_source_of_rows_is_the_error_that_is_raised(server, imitated):
    from dataclasses import replace

    def broken():
        def batches():
            yield rows_of(0, 3, 1.0).to_batches()[0]
            raise ValueError("the file is damaged")

        return pa.RecordBatchReader.from_batches(STAGED, batches())

    imitated.ensure_target(target_of())
    with pytest.raises(ValueError, match="the file is damaged"):
        list(
            imitated.load(
                target_of(),
                iter([replace(slice_of(rows_of(0, 3, 1.0)), rows=StagedRows(broken, keys_ascend=False))]),
                "replace",
                print,
            )
        )
    assert server.staging_tables() == []


def test_a_slice_that_is_too_large_for_one_transaction_is_refused_with_advice(server, imitated):
    imitated.slice_limit = 1_000_000
    with pytest.raises(
        PoolError, match=r"is 3 MB, and one transaction of mssql:imitation/warehouse takes 1 MB.*Partition finer"
    ):
        load(imitated, slice_of(rows_of(0, 3, 1.0), size=3_000_000))
    assert server.rows("SELECT count(*) FROM predictions") == [(0,)]


def test_a_model_is_kept_once(server, imitated):
    for _ in range(2):
        imitated.register_model("length_of_stay", "ab" * 32, b"\0model", "{}")
    imitated.register_model("length_of_stay", "cd" * 32, b"other", "{}")
    assert server.rows("SELECT id, sha256, model FROM onnx_models ORDER BY id") == [
        (1, "ab" * 32, b"\0model"),
        (2, "cd" * 32, b"other"),
    ]
