"""The options of the engine `external_python`: the Python of SQL Server's Machine Learning Services."""

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from onnx_pipeline.spec.engines.external_script import ExternalScriptOptions

__all__ = ["LANGUAGE", "ExternalPythonOptions"]

LANGUAGE = "Python"
"""What the language of Machine Learning Services is called."""


class ExternalPythonOptions(ExternalScriptOptions):
    """SQL Server scores by itself, by ONNX Runtime in its own Python."""

    kind: Literal["external_python"] = Field(
        "external_python", description="ONNX Runtime in the Python of SQL Server's Machine Learning Services."
    )
    language: str = Field(
        LANGUAGE, description="The name of the language: another one for a Python that was registered as an extension."
    )
    threads: int = Field(
        1, ge=0, le=1024, description="Threads of ONNX Runtime for each process; 0 lets ONNX Runtime choose."
    )

    engine: ClassVar[str] = "onnx_pipeline.engines.external.python:ExternalPythonEngine"

    @field_validator("language")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", value) or value.upper() in ("R", "JAVA"):
            raise ValueError(
                f"language {value!r} must be letters, digits and underscores, and neither R nor Java: `Python`, or the "
                "name that CREATE EXTERNAL LANGUAGE gave to a Python of your own"
            )
        return value
