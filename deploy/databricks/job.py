"""What the job of Databricks runs: put this file into the workspace, where submit.py names it."""

import sys

from onnx_pipeline.cluster.job import main

if code := main(sys.argv[1:]):
    sys.exit(code)
