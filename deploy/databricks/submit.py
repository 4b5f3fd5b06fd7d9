"""Hands the job of a scoring to Databricks through Dagster Pipes: `engine: {kind: spark, submit: [python, submit.py]}`.

Needs dagster-databricks, and DATABRICKS_HOST and DATABRICKS_TOKEN in the environment. Name your cluster, your libraries
and the place of job.py in TASK. Staging lies in Azure Blob; what signs in to it is in the cluster's environment.
"""

import os
import signal
import sys
from typing import Any

import dagster as dg
from dagster_databricks import PipesDatabricksClient
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import jobs

TASK: dict[str, Any] = {
    "task_key": "onnx_pipeline",
    "new_cluster": {
        "spark_version": "17.3.x-scala2.13",  # Spark 4
        "node_type_id": "Standard_D8ads_v5",
        "num_workers": 8,
        "spark_env_vars": {
            "ONNX_PIPELINE_BLOB_ACCOUNT_URL": "https://account.blob.core.windows.net",
            "AZURE_STORAGE_KEY": "{{secrets/scoring/storage-key}}",
        },
    },
    "libraries": [{"pypi": {"package": "onnx-pipeline[azure]"}}, {"pypi": {"package": "dagster-pipes"}}],
    "spark_python_task": {"python_file": "/Workspace/Shared/onnx_pipeline/job.py"},
}


def submit(databricks: PipesDatabricksClient, order: str) -> bool:
    """Run the job over an order of the engine, and wait; whether it came to its end."""
    started = {**TASK["spark_python_task"], "parameters": [order]}
    task = jobs.SubmitTask.from_dict({**TASK, "spark_python_task": started})

    @dg.op
    def databricks_job(context: dg.OpExecutionContext) -> None:
        databricks.run(context=context, task=task)

    @dg.job(executor_def=dg.in_process_executor)
    def scoring() -> None:
        databricks_job()

    return scoring.execute_in_process(raise_on_error=False).success


def main() -> int:
    # A cancelled run ends this process: Pipes cancels the job then.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    return 0 if submit(PipesDatabricksClient(WorkspaceClient()), sys.argv[-1]) else 1


if __name__ == "__main__":
    sys.exit(main())
