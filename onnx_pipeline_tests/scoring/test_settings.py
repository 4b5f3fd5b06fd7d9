"""The fingerprint of settings: what it is, so that another version of this package makes nothing pending."""

import pyarrow as pa
import pytest
import sqlalchemy as sa

from onnx_pipeline.models.providers import PROVIDERS
from onnx_pipeline.models.signature import OutputSignature, Signature, TensorSignature
from onnx_pipeline.pools.records import Source
from onnx_pipeline.scoring.settings import differences, settings
from onnx_pipeline.spec.scoring import ScoringSpec

COLUMNS = pa.schema([("Id", pa.int64()), ("site", pa.string()), ("x", pa.float32()), ("age", pa.float64())])
SOURCE = Source("table t", COLUMNS, sa.table("t"))
ONE = Signature((TensorSignature("x", "float", (None, 1)),), (OutputSignature("score", "float", (None, 1)),))
MATRIX = Signature((TensorSignature("X", "float", (None, 2)),), (OutputSignature("label", "int64", (None,)),))


def spec_of(**options):
    return ScoringSpec(**{"onnx": "m", "name": "s", "source": "t", "key": ["id"], "target": "o", **options})


# Written down, not computed: a change here makes every slice of every user pending.
PINNED = [
    (
        spec_of(), ONE, None,
        ("1 engine=44136fa355b3678a features=16f17dbef4a6ed02 key=f9d16126046743fb nan_predictions=34e382cfb94027bb "
        "nulls=44136fa355b3678a outputs=afb7f6a3e71687fe source=8ca5d81566f88bad"),
    ),
    (
        spec_of(
            source={"query": "SELECT * FROM t\n"}, nulls={"x": 0.0}, outputs={"risk": "score"}, features={"x": "AGE"},
            checks={"nan_predictions": "allow"},
        ),
        ONE, None,
        ("1 engine=44136fa355b3678a features=3a52f0ccb4ccb08f key=f9d16126046743fb nan_predictions=58d46b625a55ee18 "
        "nulls=5bff452c5ed93f2e outputs=9103a57a39ad45a1 source=e158eff62eb81628"),
    ),
    (
        spec_of(key=["site", "id"]), MATRIX, ("x", "age"),
        ("1 engine=44136fa355b3678a features=f79a36897fb21721 key=4f03d27242717fdc nan_predictions=34e382cfb94027bb "
        "nulls=44136fa355b3678a outputs=fb836fdff749ef0b source=8ca5d81566f88bad"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "signature", "names", "expected"), PINNED)
def test_the_fingerprint_is_what_it_was(spec, signature, names, expected):
    assert settings(spec, SOURCE, signature, names) == expected


def test_columns_of_a_matrix_written_out_are_those_that_the_model_names():
    defaulted = settings(spec_of(), SOURCE, MATRIX, ("x", "age"))
    for features in (["x", "age"], {"X": ["X", "AGE"]}, {"age": "age"}):
        assert settings(spec_of(features=features), SOURCE, MATRIX, ("x", "age")) == defaulted
    other = settings(spec_of(features=["age", "x"]), SOURCE, MATRIX, ("x", "age"))
    assert differences(defaulted, other) == ["features"]


def test_fingerprints_of_two_forms_are_not_compared():
    assert differences("1 key=a nulls=b", "1 key=a nulls=c") == ["nulls"]
    assert differences("0 key=a", "1 key=b") == differences(None, "1 key=b") == differences("1 key=b", None) == []


def test_an_engine_says_which_of_its_options_decide_a_prediction():
    plain = {"kind": "remote", "url": "https://example.org/score"}
    one = settings(spec_of(engine=plain), SOURCE, ONE, None)
    assert settings(spec_of(engine={**plain, "retries": 1, "wire": "v2"}), SOURCE, ONE, None) == one
    blue = {**plain, "headers": {"Azureml-Model-Deployment": "blue"}}
    assert differences(one, settings(spec_of(engine=blue), SOURCE, ONE, None)) == ["engine"]


def test_reduced_precision_that_the_environment_asks_for_is_another_setting(monkeypatch):
    cuda = "CUDAExecutionProvider"
    exact = settings(spec_of(), SOURCE, ONE, None)
    for same in (cuda, f'[{{"{cuda}": {{"device_id": 1, "use_tf32": false}}}}]'):
        monkeypatch.setenv(PROVIDERS, same)
        assert settings(spec_of(), SOURCE, ONE, None) == exact
    monkeypatch.setenv(PROVIDERS, f'[{{"{cuda}": {{"use_tf32": true}}}}]')
    reduced = settings(spec_of(), SOURCE, ONE, None)
    assert differences(exact, reduced) == differences(reduced, exact) == ["engine"]
    elsewhere = settings(spec_of(engine={"kind": "sql"}), SOURCE, ONE, None)
    monkeypatch.delenv(PROVIDERS)
    assert settings(spec_of(engine={"kind": "sql"}), SOURCE, ONE, None) == elsewhere
