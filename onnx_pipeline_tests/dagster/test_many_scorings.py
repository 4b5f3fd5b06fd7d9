"""A project of many scorings loads without work that grows with their square, and means what it meant."""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster.components.core.component_tree import ComponentTree

from onnx_pipeline.orchestration.names import scoring_keys
from onnx_pipeline.orchestration.scoring_job import ScoringJob
from onnx_pipeline.spec.part import SpecPart, _Resolution

MANY = 12

EXTRA = """\
import dagster as dg


@dg.asset(key="events_02")
def upstream() -> None: ...


@dg.asset_check(asset=["scoring_02", "pool_predictions"], additional_deps=["elsewhere"])
def somebodys() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset
def elsewhere() -> None: ...
"""


@pytest.fixture
def defs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of scorings of which one feeds another, with an asset and a check of somebody's own."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "many"\n'
    )
    defs = tmp_path / "many" / "defs"
    for number in range(MANY):
        folder = defs / f"scoring_{number:02}"
        folder.mkdir(parents=True)
        source = "predictions_00" if number == 1 else f"events_{number:02}"
        (folder / "defs.yaml").write_text(
            "type: onnx_pipeline.OnnxScoring\n\nattributes:\n  onnx: model.onnx\n"
            f"  source: {source}\n  key: [id]\n  target: predictions_{number:02}\n"
            '  partitions: {column: day, every: day, start: 2026-01-01}\n  fresh_by: "0 9 * * *"\n'
        )
    for folder in (tmp_path / "many", defs):
        (folder / "__init__.py").write_text("")
    (defs / "extra.py").write_text(EXTRA)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("many", "many.defs", "many.defs.extra"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def loaded(root: Path) -> dg.Definitions:
    tree = ComponentTree.for_project(root)
    return tree.build_defs()


def test_a_scorings_job_is_the_one_that_dagster_makes_of_the_whole_graph(defs_folder: Path) -> None:
    repository = loaded(defs_folder).get_repository_def()
    for number in range(MANY):
        name = f"scoring_{number:02}"
        ours = repository.get_job(name)
        plain = dg.define_asset_job(
            name, selection=dg.AssetSelection.assets(*scoring_keys(name)), description=ours.description
        ).resolve(asset_graph=repository.asset_graph, resource_defs=ours.resource_defs)
        assert ours.asset_layer.asset_graph.get_all_asset_keys() == plain.asset_layer.asset_graph.get_all_asset_keys()
        assert ours.get_job_snapshot().dep_structure_snapshot == plain.get_job_snapshot().dep_structure_snapshot
        assert ours.asset_layer.asset_graph.asset_check_keys == plain.asset_layer.asset_graph.asset_check_keys
        assert {node.name for node in ours.nodes} == {node.name for node in plain.nodes}
    checks = repository.get_job("scoring_02").asset_layer.asset_graph.asset_check_keys
    assert "somebodys" in {check.name for check in checks}


def test_a_subset_of_a_scorings_job_runs_with_the_checks_of_its_assets(defs_folder: Path) -> None:
    job = loaded(defs_folder).get_repository_def().get_job("scoring_02")
    subset = job.get_subset(asset_selection={dg.AssetKey(["scoring_02", "pool_predictions"])})
    names = {node.name for node in subset.nodes}
    assert "scoring_02__pool_predictions" in names
    assert any(name.endswith("somebodys") for name in names)
    assert "scoring_02__model" not in names


def test_a_job_is_resolved_against_what_it_can_depend_on_alone(
    defs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, int] = {}
    resolve = ScoringJob.__mro__[1].resolve  # type: ignore[attr-defined]

    def counted(self: Any, asset_graph: AssetGraph, *arguments: Any, **named: Any) -> Any:
        seen[self.name] = len(asset_graph.get_all_asset_keys())
        return resolve(self, asset_graph, *arguments, **named)

    monkeypatch.setattr(ScoringJob.__mro__[1], "resolve", counted)
    RepositorySnap.from_def(loaded(defs_folder).get_repository_def())
    assert len(seen) >= MANY
    # Four assets and a source.
    assert seen["scoring_05"] == 5


def test_a_folders_declarations_are_looked_for_once_not_once_a_scoring(
    defs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    for name in ("find_root_decl", "_component_decl_tree"):
        original = getattr(ComponentTree, name)

        def counted(self: Any, _name: str = name, _original: Any = original) -> Any:
            calls[_name] += 1
            return _original(self)

        monkeypatch.setattr(ComponentTree, name, counted)
    loaded(defs_folder)
    assert 1 <= calls["find_root_decl"] < MANY
    assert calls["_component_decl_tree"] < MANY


def test_every_defs_yaml_is_parsed_once(defs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster.components.core import decl

    parsed: Counter[str] = Counter()
    parse = decl.parse_yamls_with_source_position

    def counted(text: str, name: str) -> Any:
        parsed[name] += 1
        return parse(text, name)

    monkeypatch.setattr(decl, "parse_yamls_with_source_position", counted)
    loaded(defs_folder)
    assert len(parsed) == MANY
    assert set(parsed.values()) == {1}


@pytest.mark.parametrize(
    "text",
    [
        "encounters", "dbo.encounters", "../../models/a-b.onnx", "az://models/x.onnx", "latest 7", "True", "None",
        "False", "1.0", "1_0", "0x1f", "'quoted'", "[1, 2]", "2026-01-01", "10:30", "-5", "-x", "a  b", "{{ env.X }}",
        "a {% if true %}b{% endif %}", "a # comment", "x{# gone #}", " led", "trailed ", "", "inf", "nan", "1e5", "u'x'",
        ".5", ".5.5", "...", "Truer", "None.x", "é", "a\n", "_1", "/", "e1", "0 6 * * *", "a.b", "a:b", "1j", "b''",
        "True True", "None\n", "./True",
    ],
)  # fmt: skip
def test_a_text_resolves_to_what_dagster_makes_of_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "found")
    theirs = dg.ResolutionContext.default()
    ours = _Resolution(scope=theirs.scope)
    expected = theirs.resolve_value(text)
    assert ours.resolve_value(text) == expected
    assert type(ours.resolve_value(text)) is type(expected)
    assert ours.resolve_value({"a": [text]}) == {"a": [expected]}


def test_a_part_within_a_part_resolves_the_same_way() -> None:
    class Inner(SpecPart):
        table: str

    class Outer(SpecPart):
        inner: Inner
        names: list[str]

    found = Outer.resolve_from_yaml("inner: {table: '{{ env.HOME }}'}\nnames: [a, 'b.c']\n")
    assert found.inner.table == os.environ["HOME"]
    assert list(found.names) == ["a", "b.c"]
