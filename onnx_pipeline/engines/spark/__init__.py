"""Spark, for slices that are too large for one machine: its tasks run `onnx_pipeline.cluster`."""
