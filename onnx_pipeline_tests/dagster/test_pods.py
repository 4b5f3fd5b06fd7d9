"""Runs in pods of their own: what they ask for, and who ends them when a pod is gone."""

import datetime
import json
import logging
import time
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import kubernetes
import pytest
import yaml
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster_k8s import K8sRunLauncher

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cli import app as commands
from onnx_pipeline.orchestration.executor import PROCESS_TAG, end_dead_runs, end_runs_of_server, process_tag
from onnx_pipeline.orchestration.pod_sizes import POD_SIZES_VARIABLE, largest_pod_tags, pod_tags
from onnx_pipeline.orchestration.resources import concurrency_pool, pool_url
from onnx_pipeline_tests.dagster.conftest import DAYS, SETTINGS, MakeSpec, Project, definitions
from onnx_pipeline_tests.dagster.test_automation import asked, look

SIZES = "120: cpu=500m memory=1Gi ephemeral-storage=1Gi; any: cpu=4 memory=4Gi ephemeral-storage=20Gi"
GRPC_INFO = ".dagster/grpc_info"
_logger = logging.getLogger(__name__)


def asked_memory(tags: Any) -> str:
    return str(json.loads(tags["dagster-k8s/config"])["container_config"]["resources"]["requests"]["memory"])


def test_a_run_asks_for_the_size_of_its_rows_all_its_slices_together(
    project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 rows a day, as the pool counts them: two days are 100, four are 200."""
    monkeypatch.setenv(POD_SIZES_VARIABLE, SIZES)
    requests, _, _ = look(instance, make_spec(partitions_per_run=2))
    assert asked(requests) == [(DAYS[0], DAYS[1]), (DAYS[2], DAYS[3])]
    assert [asked_memory(request.tags) for request in requests] == ["1Gi", "1Gi"]
    assert {request.tags["dagster/retry_strategy"] for request in requests} == {"ALL_STEPS"}
    (request,), _, _ = look(instance, make_spec())
    assert asked_memory(request.tags) == "4Gi"
    project.fill([DAYS[0]], rows=71)
    requests, _, _ = look(instance, make_spec(partitions_per_run=1))
    assert [asked_memory(request.tags) for request in requests] == ["4Gi", "1Gi", "1Gi", "1Gi"]


def test_the_model_alone_is_small_and_a_job_that_nobody_counted_large(
    project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POD_SIZES_VARIABLE, SIZES)
    spec = make_spec()
    (request,), _, _ = look(instance, spec, "new_model")
    assert asked_memory(request.tags) == "1Gi"
    for job in ("visits", "score_all"):
        assert asked_memory(definitions(spec).resolve_job_def(job).tags) == "4Gi"


def test_without_sizes_nothing_says_a_word_of_kubernetes(
    project: Project, make_spec: MakeSpec, instance: dg.DagsterInstance
) -> None:
    requests, _, _ = look(instance, make_spec())
    tags = {**requests[0].tags, **definitions(make_spec()).resolve_job_def("visits").tags}
    assert not [tag for tag in tags if tag.startswith(("dagster-k8s/", "dagster/retry"))]
    assert pod_tags(5) == largest_pod_tags() == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1M: cpu=1", "the last one is for `any`"),
        ("any: cpu=1; 1M: cpu=2", "from fewer rows to more"),
        ("2M: cpu=1; 1M: cpu=1; any: cpu=1", "from fewer rows to more"),
        ("1M cpu=1; any: cpu=2", "'1M cpu=1' in it is no size"),
        ("any: gpu=1", "'gpu=1' in it is no size"),
        ("any: memory=lots", "'memory=lots' in it is no size"),
        ("any: cpu", "'any: cpu' in it is no size"),
    ],
)
def test_sizes_that_are_none_are_refused_with_the_text_and_an_example(
    text: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POD_SIZES_VARIABLE, text)
    with pytest.raises(SpecError) as error:
        pod_tags(5)
    assert repr(text) in str(error.value) and named in str(error.value) and "any: cpu=4" in str(error.value)


@pytest.fixture
def api() -> Any:
    """Kubernetes' batch API, which knows no Job that still runs."""
    api = mock.create_autospec(kubernetes.client.BatchV1Api, instance=True)
    ended = kubernetes.client.V1JobStatus(active=0, failed=1)
    api.read_namespaced_job_status.return_value = kubernetes.client.V1Job(status=ended)
    return api


@pytest.fixture
def cluster(tmp_path: Path, api: Any) -> Any:
    """An instance with a pod per run, and the settings of run monitoring that `deploy/kubernetes/values.yaml` has."""
    with mock.patch("dagster_k8s.launcher.load_kubernetes_config"):
        launcher = K8sRunLauncher(
            service_account_name="dagster", instance_config_map="dagster", dagster_home="/opt/dagster",
            k8s_client_batch_api=api, k8s_client_core_api=mock.create_autospec(kubernetes.client.CoreV1Api, instance=True),
        )  # fmt: skip
    settings = yaml.safe_load(SETTINGS.read_text())
    settings["run_monitoring"] = {"enabled": True, "free_slots_after_run_end_seconds": 1}
    # In files: the daemon frees no slots of an instance in memory.
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        instance._run_launcher = launcher
        launcher.register_instance(instance)
        yield instance


def holding(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    """A run that works and holds the slot of the database; its id."""
    run = create_run_for_test(instance, job_name="visits", status=DagsterRunStatus.STARTED, tags=tags)
    pool = concurrency_pool(pool_url())
    instance.event_log_storage.set_concurrency_slots(pool, 1)
    assert instance.event_log_storage.claim_concurrency_slot(pool, run.run_id, "visits__features").is_claimed
    return run.run_id


def slots_taken(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info(concurrency_pool(pool_url())).active_slot_count


def status(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    found = instance.get_run_by_id(run_id)
    assert found is not None
    return found.status


@pytest.mark.parametrize("host", ["dagster-run-2f1c", "the-node"])
def test_a_pod_that_is_gone_is_run_monitorings_business_and_never_another_pods(
    cluster: dg.DagsterInstance, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where two pods call themselves by one name, as with the network of their node: numbers of processes are each pod's own."""
    monkeypatch.setattr("socket.gethostname", lambda: "dagster-run-77aa" if host != "the-node" else "the-node")
    run_id = holding(cluster, {PROCESS_TAG: f"{host}:1:0.00"})
    assert end_dead_runs(cluster) == []
    assert status(cluster, run_id) == DagsterRunStatus.STARTED and slots_taken(cluster) == 1
    context = mock.Mock(instance=cluster)
    assert list(execute_run_monitoring_iteration(context, _logger)) == [None]
    assert status(cluster, run_id) == DagsterRunStatus.FAILURE
    assert slots_taken(cluster) == 1, "not yet: the pod may still be ending"
    later = time.time() + 60
    with mock.patch("dagster._daemon.monitoring.concurrency.get_current_datetime") as now:
        now.return_value = datetime.datetime.fromtimestamp(later, tz=datetime.timezone.utc)
        list(execute_concurrency_slots_iteration(context, _logger))
    assert slots_taken(cluster) == 0


def test_a_pod_that_works_is_left_alone(cluster: dg.DagsterInstance, api: Any) -> None:
    api.read_namespaced_job_status.return_value.status = kubernetes.client.V1JobStatus(active=1)
    run_id = holding(cluster, {PROCESS_TAG: "dagster-run-2f1c:1:0.00"})
    list(execute_run_monitoring_iteration(mock.Mock(instance=cluster), _logger))
    assert end_dead_runs(cluster) == []
    assert status(cluster, run_id) == DagsterRunStatus.STARTED and slots_taken(cluster) == 1


def test_without_run_monitoring_a_dead_run_of_this_host_is_ended_as_ever(cluster: dg.DagsterInstance) -> None:
    cluster._run_monitoring_enabled = False
    host, _, _ = process_tag().rsplit(":", 2)
    run_id = holding(cluster, {PROCESS_TAG: f"{host}:1:0.00"})
    assert end_dead_runs(cluster) == [run_id]
    assert slots_taken(cluster) == 0


def launched(host: str, port: int, begun: float, where: str = "a-container-that-is-gone") -> dict[str, str]:
    return {GRPC_INFO: json.dumps({"host": host, "port": port}), PROCESS_TAG: f"{where}:7:{begun:.2f}"}


def test_a_code_server_that_starts_anew_ends_what_its_container_before_left(instance: dg.DagsterInstance) -> None:
    started = time.time()
    left = holding(instance, launched("code", 4000, started - 5))
    kept = [
        create_run_for_test(instance, job_name="visits", status=DagsterRunStatus.STARTED, tags=tags).run_id
        for tags in (
            launched("code", 4000, started + 5),
            launched("code", 4001, started - 5),
            launched("other", 4000, started - 5),
            {PROCESS_TAG: f"a-persons-machine:7:{started - 5:.2f}"},
        )
    ]
    done = create_run_for_test(
        instance, job_name="visits", status=DagsterRunStatus.SUCCESS, tags=launched("code", 4000, started - 5)
    )
    assert end_runs_of_server(instance, "code", 4000, before=started) == [left]
    assert status(instance, left) == DagsterRunStatus.FAILURE and slots_taken(instance) == 0
    assert {status(instance, run_id) for run_id in kept} == {DagsterRunStatus.STARTED}
    assert status(instance, done.run_id) == DagsterRunStatus.SUCCESS
    assert end_runs_of_server(instance, "code", 4000, before=started) == []


@pytest.mark.parametrize("server", ["code", "code:", ":4000", "code:http"])
def test_an_address_that_is_none_is_refused(server: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["onnx-pipeline", "end-runs", server])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 1
    assert f"{server!r} is no address of a code server" in capsys.readouterr().err
