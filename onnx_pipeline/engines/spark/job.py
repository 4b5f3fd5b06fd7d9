"""`python -m onnx_pipeline.engines.spark.job <folder>/order.json`: the job, where the whole package is installed."""

import sys

from onnx_pipeline.cluster.job import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
