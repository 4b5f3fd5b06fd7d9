"""deploy/databricks/submit.py on a workspace that runs a submitted task as a process of this machine.

Pipes' context and messages travel by files, as its own tests have them travel: a workspace has DBFS for that.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dagster import PipesTempFileContextInjector, PipesTempFileMessageReader
from dagster_databricks import PipesDatabricksClient
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import jobs

FOLDER = Path(__file__).parents[2] / "deploy" / "databricks"


class Jobs:
    """One run, whose task keeps the order of its lines."""

    def submit(self, tasks: list[jobs.SubmitTask]) -> Any:
        (task,) = tasks
        assert task.spark_python_task is not None
        assert task.new_cluster is not None
        file = FOLDER / Path(task.spark_python_task.python_file).name
        # The cluster of the task is another one than its sign-in is for.
        given = {name: value for name, value in (task.new_cluster.spark_env_vars or {}).items() if "PIPES" in name}
        self._process = subprocess.Popen(
            [sys.executable, str(file), *(task.spark_python_task.parameters or [])], env={**os.environ, **given}
        )
        return SimpleNamespace(bind=lambda: {"run_id": 17})

    def get_run(self, run_id: int) -> jobs.Run:
        code = self._process.poll()
        if code is None:
            return jobs.Run(state=jobs.RunState(life_cycle_state=jobs.RunLifeCycleState.RUNNING))
        ended = jobs.RunResultState.FAILED if code else jobs.RunResultState.SUCCESS
        state = jobs.RunState(life_cycle_state=jobs.RunLifeCycleState.TERMINATED, result_state=ended)
        return jobs.Run(state=state, run_page_url="https://workspace.test/jobs/17")


class Workspace(WorkspaceClient):
    """A workspace with one kind of API."""

    jobs = Jobs()  # type: ignore[assignment]


def main() -> int:
    client = PipesDatabricksClient(
        Workspace(host="https://workspace.test", token="none"),
        context_injector=PipesTempFileContextInjector(),
        message_reader=PipesTempFileMessageReader(),
        poll_interval_seconds=0.2,
    )
    found = runpy.run_path(str(FOLDER / "submit.py"))
    return 0 if found["submit"](client, sys.argv[-1]) else 1


if __name__ == "__main__":
    sys.exit(main())
