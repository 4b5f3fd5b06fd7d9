"""`onnx-pipeline`: what a person types. Every command says what it did, and exits with 1 where it could not."""

from onnx_pipeline.cli.app import main

__all__ = ["main"]
