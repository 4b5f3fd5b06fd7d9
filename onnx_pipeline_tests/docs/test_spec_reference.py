"""`docs/spec.md` says what the code says."""

from pathlib import Path

from onnx_pipeline.spec.checks import CheckSpec
from onnx_pipeline.spec.engines.onnxruntime import OnnxRuntimeOptions
from onnx_pipeline.spec.engines.remote import RemoteOptions
from onnx_pipeline.spec.partitions import PartitionSpec
from onnx_pipeline.spec.reference import reference
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline.spec.source import SourceSpec
from onnx_pipeline.spec.target import TargetSpec

PAGE = Path(__file__).parents[2] / "docs" / "spec.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "docs/spec.md differs from the code; run: python -m onnx_pipeline.spec.reference > docs/spec.md"
    )


def test_every_attribute_is_there_under_its_yaml_name_with_a_description() -> None:
    text = reference()
    for part in (ScoringSpec, SourceSpec, PartitionSpec, TargetSpec, OnnxRuntimeOptions, RemoteOptions, CheckSpec):
        for name, field in part.model_fields.items():
            shown = "load" if name == "load_mode" else name
            assert field.description, f"{part.__name__}.{name} has no description"
            assert any(line.startswith(f"| `{shown}` |") and field.description in line for line in text.splitlines())
