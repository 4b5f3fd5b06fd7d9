"""What every engine says of a model, also those of others: one that is broken keeps no other from its answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_pipeline.engines.onnxruntime import OnnxRuntimeEngine
from onnx_pipeline.engines.opinions import Opinion, Verdict, opinions, own_task
from onnx_pipeline.engines.sql.engine import SqlEngine
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.models.remote_model import RemoteModel
from onnx_pipeline.pools import Pool
from onnx_pipeline.spec.engines.registry import engine_kinds, options_of
from onnx_pipeline.spec.engines.remote import RemoteOptions
from onnx_pipeline_tests.conftest import MakeModel


def model_of(nodes: list[Any], width: int | str | None, constants: Sequence[Any] = ()) -> OnnxModel:
    """A model from X, float [N, width], to y, float [N, 1]."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxModel.from_bytes(made.SerializeToString())


def said(model: Any, pool: Pool | None = None, *, longer: bool = False) -> dict[str, Opinion]:
    found = opinions(model, pool, own_task(model) if longer else None)
    assert [one.engine for one in found] == engine_kinds()
    return {one.engine: one for one in found}


def test_every_engine_is_asked_also_those_of_others(weighted_sum: MakeModel, pool: Pool, outside: None) -> None:
    found = said(weighted_sum({"a": 1.0, "b": 2.0}), pool, longer=True)
    assert {"onnxruntime", "remote", "sql", "house_sql", "house_stream"} <= set(found)
    assert found["onnxruntime"] == Opinion("onnxruntime", "here", Verdict.YES)
    assert found["remote"] == Opinion("remote", "here", Verdict.YES, "where a service has it")
    assert found["house_sql"] == Opinion("house_sql", "pool", Verdict.YES)
    assert found["sql"] == Opinion("sql", "pool", Verdict.YES)


def test_a_condition_stands_where_nobody_looked_longer(weighted_sum: MakeModel, pool: Pool) -> None:
    assert said(weighted_sum({"a": 1.0}), pool)["sql"].why == SqlEngine.proviso
    assert said(weighted_sum({"a": 1.0}), pool, longer=True)["sql"].why == ""


def test_a_condition_of_the_pool_stands_until_a_pool_is_asked(weighted_sum: MakeModel) -> None:
    for longer in (False, True):
        found = said(weighted_sum({"a": 1.0}), longer=longer)
        assert found["predict"].why == "where the pool answers PREDICT"
        assert found["external_language"].why == "where the language is registered"
        assert "with onnxruntime in their Python" in found["external_python"].why


def test_a_node_without_a_form_in_sql_is_named(pool: Pool) -> None:
    sine = said(model_of([helper.make_node("Sin", ["X"], ["y"])], 1), pool, longer=True)["sql"]
    assert sine.verdict is Verdict.NO and sine.why == "Sin has no form in SQL"
    assert "engine: {kind: onnxruntime}" in sine.remedy


def test_what_shows_only_when_the_model_is_compiled_is_found_by_who_looks_longer(pool: Pool) -> None:
    # A cast has a form, but for one from a float to text.
    there, back = (
        helper.make_node("Cast", [given], [made], to=dtype)
        for given, made, dtype in (("X", "text", TensorProto.STRING), ("text", "y", TensorProto.FLOAT))
    )
    model = model_of([there, back], 1)
    assert said(model, pool)["sql"].verdict is Verdict.YES
    longer = said(model, pool, longer=True)["sql"]
    assert longer.verdict is Verdict.NO and "from float32 to string has no form in SQL" in longer.why
    assert "engine: {kind: onnxruntime}" in longer.remedy


def test_an_engine_whose_package_is_missing_says_which_and_how_to_get_it(
    weighted_sum: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteOptions, "packages", ("no_such_package.at_all",))
    found = said(weighted_sum({"a": 1.0}))["remote"]
    assert found.verdict is Verdict.NOT_INSTALLED
    assert (found.why, found.remedy) == ("it needs no_such_package.at_all", f"pip install '{RemoteOptions.extra}'")


def test_an_engine_that_breaks_keeps_no_other_from_its_answer(
    weighted_sum: MakeModel, pool: Pool, outside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = options_of("house_sql").engine.replace(":HouseSql", ":Gone")
    monkeypatch.setattr(options_of("house_sql"), "engine", broken)

    def ends(*_: object) -> Any:
        raise RuntimeError("out of order\nwith details")

    import house_engines

    monkeypatch.setattr(house_engines.HouseStream, "unsupported", ends)
    found = said(weighted_sum({"a": 1.0}), pool)
    assert found["house_sql"].verdict is found["house_stream"].verdict is Verdict.NOT_KNOWN
    assert "AttributeError" in found["house_sql"].why and "Gone" in found["house_sql"].why
    assert found["house_stream"].why == "asking it ended in RuntimeError: out of order"
    assert found["house_stream"].remedy == "repair or remove the package that brings it"
    assert found["onnxruntime"].verdict is Verdict.YES


def test_a_secret_of_the_pool_stays_out_of_what_an_engine_says(
    weighted_sum: MakeModel, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*_: object) -> Any:
        raise ValueError("signing in as scorer by Secret_1")

    monkeypatch.setattr(OnnxRuntimeEngine, "unsupported", ends)
    monkeypatch.setattr(type(pool), "redacted", lambda _, text: text.replace("Secret_1", "***"))
    assert said(weighted_sum({"a": 1.0}), pool)["onnxruntime"].why.endswith("signing in as scorer by ***")


def test_a_model_that_stays_at_a_service_has_no_artifact_to_run(weighted_sum: MakeModel) -> None:
    signature = weighted_sum({"a": 1.0}).signature
    found = said(RemoteModel("https://models.example/score", "1", None, signature))
    assert found["onnxruntime"].why == found["sql"].why == "its artifact is not here"
    assert found["onnxruntime"].remedy == "name it as `onnx`"
    assert found["remote"].verdict is Verdict.YES


def test_a_models_own_task_has_all_its_columns_and_outputs() -> None:
    named = own_task(
        model_of(
            [helper.make_node("ReduceSum", ["X", "one"], ["y"], keepdims=1)],
            3,
            [numpy_helper.from_array(np.int64([1]), "one")],
        )
    )
    assert named is not None
    assert named.binding.columns == {"X_0": "float", "X_1": "float", "X_2": "float"}
    assert [output.name for output in named.outputs] == ["y"]
    anything = model_of(
        [helper.make_node("ReduceSum", ["X", "one"], ["y"], keepdims=1)],
        "F",
        [numpy_helper.from_array(np.int64([1]), "one")],
    )
    assert own_task(anything) is None
