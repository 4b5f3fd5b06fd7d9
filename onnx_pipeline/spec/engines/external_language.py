"""The options of the engine `external_language`: SQL Server's external language `ONNX`."""

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from onnx_pipeline.spec.engines.external_script import ExternalScriptOptions

__all__ = ["ExternalLanguageOptions"]


class ExternalLanguageOptions(ExternalScriptOptions):
    """SQL Server scores by itself, by the external language that `onnx-pipeline extension deploy` registers."""

    kind: Literal["external_language"] = Field(
        "external_language", description="SQL Server's external language `ONNX`, beside the database engine."
    )
    language: str = Field("ONNX", description="The name that the language is registered by.")
    threads: int = Field(
        1, ge=0, le=1024, description="Threads of ONNX Runtime for each process; 0 lets ONNX Runtime choose."
    )

    engine: ClassVar[str] = "onnx_pipeline.engines.external.language:ExternalLanguageEngine"

    @field_validator("language")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", value) or value.upper() in ("R", "PYTHON", "JAVA"):
            raise ValueError(
                f"language {value!r} must be letters, digits and underscores, and none of R, Python, Java: the name "
                "that `onnx-pipeline extension deploy --language` registered"
            )
        return value
