"""The executor of this project: Dagster's in-process one, which first ends what the dead have left.

A run that was killed stays STARTED and keeps its slot in Dagster's concurrency pools, and every later run would wait
for it forever. So each run notes which process it lives in, and ends the runs of processes that are gone, at its start
and while it waits. Where the instance looks after its runs itself, as with a pod per run, it is left to that.
"""

import json
import logging
import socket
import threading
from collections.abc import Iterator

import dagster as dg
import psutil
from dagster import DagsterEvent
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.storage.tags import GRPC_INFO_TAG

__all__ = ["end_dead_runs", "end_runs_of_server", "in_process_executor", "process_tag"]

PROCESS_TAG = "onnx_pipeline/process"
"""`<host>:<pid>:<start in seconds since 1970>`; the start tells a process from a later one of the same number."""

_EVERY_SECONDS = 5.0
_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_logger = logging.getLogger(__name__)


def process_tag() -> str:
    """The value of PROCESS_TAG for this process."""
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def _is_dead(tag: str) -> bool:
    """Whether the process is known to be gone; one on another host is not for us to judge."""
    host, pid, created = tag.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        alive = abs(process.create_time() - float(created)) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    return not alive


def _watches_its_runs(instance: dg.DagsterInstance) -> bool:
    """Whether the daemon's run monitoring asks the launcher for each run's worker, which sees more than a process."""
    return instance.run_monitoring_enabled and instance.run_launcher.supports_check_run_worker_health


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of this project whose process is gone as failed and free their slots; their ids."""
    if _watches_its_runs(instance):
        return []
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED)):
        tag = run.tags.get(PROCESS_TAG)
        if tag is None or not _is_dead(tag):
            continue
        message = f"The process of this run is gone ({tag}); another run ended it in its place."
        if _ended(instance, run, message):
            ended.append(run.run_id)
    return ended


def end_runs_of_server(instance: dg.DagsterInstance, host: str, port: int, *, before: float) -> list[str]:
    """Mark the runs that a code server launched before a time as failed and free their slots; their ids.

    For a server that began at this address at that time, in seconds since 1970: earlier runs were processes of a
    container that is gone, and they with it.
    """
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED)):
        launched = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
        if (launched.get("host"), launched.get("port")) != (host, port):
            continue
        tag, asked = run.tags.get(PROCESS_TAG), instance.get_run_stats(run.run_id).launch_time
        begun = float(tag.rsplit(":", 1)[1]) if tag is not None else asked
        if begun is None or begun >= before:
            continue
        message = f"The code server {host}:{port} has started anew, and the container of this run is gone."
        if _ended(instance, run, message):
            ended.append(run.run_id)
    return ended


def _ended(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> bool:
    # It may have ended well after our first look and before its process did.
    now = instance.get_run_by_id(run.run_id)
    if now is None or now.status not in _UNFINISHED:
        return False
    instance.report_run_failed(run, message)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return True


class _Executor(InProcessExecutor):
    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        instance, run_id = plan_context.instance, plan_context.run_id
        instance.add_run_tags(run_id, {PROCESS_TAG: process_tag()})
        finished = threading.Event()

        def watch() -> None:
            while True:
                try:
                    for dead in end_dead_runs(instance):
                        _logger.warning("ended run %s, whose process is gone", dead)
                except Exception:
                    # The instance's database may be busy or away for a moment; the next look finds the same runs.
                    _logger.exception("cannot look for runs whose process is gone; trying again")
                if finished.wait(_EVERY_SECONDS):
                    return

        watcher = threading.Thread(target=watch, name="end-dead-runs", daemon=True)
        needs_slots = any(step.pool for step in execution_plan.get_steps_to_execute_in_topo_order())
        if needs_slots:
            end_dead_runs(instance)
            watcher.start()
        try:
            yield from super().execute(plan_context, execution_plan)
        finally:
            finished.set()
            if needs_slots:
                watcher.join()


@dg.executor(name="in_process")
def in_process_executor(_: dg.InitExecutorContext) -> InProcessExecutor:
    """Runs the steps of a run one after the other in its own process."""
    return _Executor(retries=RetryMode.ENABLED)
