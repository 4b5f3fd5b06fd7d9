"""`deploy/container_apps/dagster.yaml`: what its launcher asks Azure for, with Azure's API as a mock."""

import re
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest
import yaml
from dagster._config import process_config
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.base import WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.storage.config import pg_config
from dagster._core.test_utils import create_run_for_test
from dagster_azure.blob.compute_log_manager import AzureBlobComputeLogManager

from onnx_pipeline.orchestration.executor import PROCESS_TAG, end_dead_runs

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "container_apps" / "dagster.yaml"
PRODUCTION = ROOT / "deploy" / "production" / "dagster.yaml"

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def content(file: Path = FILE) -> Any:
    return yaml.safe_load(file.read_text())


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An instance with the launcher and the monitoring of the file, and with storage of the test's own."""
    config = content()
    for name in re.findall(r"\{env: (\w+)\}", FILE.read_text()) + config["run_launcher"]["config"]["env_vars"]:
        monkeypatch.setenv(name, f"/subscriptions/{name}" if name.endswith("_ID") else f"of-{name}")
    for name in ("storage", "compute_logs"):
        del config[name]
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        client = mock.MagicMock()
        with mock.patch.object(type(instance.run_launcher), "_get_client", return_value=client):
            yield instance, client


def started(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    origin = JobPythonOrigin(
        "length_of_stay",
        RepositoryPythonOrigin(
            "python",
            ModuleCodePointer("onnx_pipeline.definitions", "defs"),
            container_image="registry.azurecr.io/onnx-pipeline:7",
        ),
    )
    run = create_run_for_test(
        instance, job_name="length_of_stay", tags=tags, job_code_origin=origin, status=dg.DagsterRunStatus.STARTED
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run


def test_a_run_is_a_job_of_its_own_that_is_tried_once(cluster: Any) -> None:
    instance, client = cluster
    run = started(instance)
    (call,) = client.jobs.begin_create_or_update.call_args_list
    group, name, job = call.args
    assert group == "of-ACA_RESOURCE_GROUP"
    assert job.environment_id == "/subscriptions/ACA_ENVIRONMENT_ID"
    assert job.configuration.replica_retry_limit == 0, "another replica would find nothing staged"
    assert job.configuration.replica_timeout == 86400
    assert [registry.server for registry in job.configuration.registries] == ["registry.azurecr.io"]
    assert list(job.identity.user_assigned_identities) == ["/subscriptions/ACA_IDENTITY_ID"]
    (container,) = job.template.containers
    assert container.image == "registry.azurecr.io/onnx-pipeline:7"
    assert (container.resources.cpu, container.resources.memory) == (2.0, "4Gi")
    assert "execute_run" in container.command
    given = {variable.name: variable.value for variable in container.env}
    assert given["ONNX_PIPELINE_POOL"] == "of-ONNX_PIPELINE_POOL"
    client.jobs.begin_start.assert_called_once_with(group, name)
    # What the page names as a limit: a job that ended stays.
    client.jobs.begin_delete.assert_not_called()
    assert run.run_id


def test_a_job_that_is_gone_is_seen_by_run_monitoring_and_judged_by_no_run(cluster: Any) -> None:
    instance, client = cluster
    run = started(instance, **{PROCESS_TAG: "another-job:1:0.00"})
    client.jobs_executions.list.return_value = [mock.Mock(status="Failed", start_time=None)]
    run = instance.get_run_by_id(run.run_id)
    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.FAILED
    assert instance.run_monitoring_enabled
    assert end_dead_runs(instance) == []


def test_every_variable_that_a_run_reads_is_passed_on_to_its_job() -> None:
    config = content()
    passed = set(config["run_launcher"]["config"]["env_vars"])
    assert set(re.findall(r"\{env: (\w+)\}", FILE.read_text())) <= passed


def test_no_secret_stands_in_a_jobs_definition() -> None:
    passed = content()["run_launcher"]["config"]["env_vars"]
    assert not [name for name in passed if re.search("PASSWORD|SECRET|KEY|TOKEN|SQL_USER", name)]


@pytest.mark.parametrize("file", [FILE, PRODUCTION], ids=["container apps", "production"])
def test_dagster_reads_the_whole_file_as_an_instance(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its storage and compute logs, which the tests above replace."""
    for name in re.findall(r"\{env: (\w+)\}", file.read_text()):
        monkeypatch.setenv(name, "5432")
    found = process_config(dagster_instance_config_schema(), content(file))
    assert found.success, found.errors
    found = process_config(pg_config(), content(file)["storage"]["postgres"])
    assert found.success, found.errors
    assert found.value["postgres_db"]["port"] == 5432
    logs = content(file)["compute_logs"]["config"]
    assert process_config(AzureBlobComputeLogManager.config_type(), logs).success
    assert not process_config(AzureBlobComputeLogManager.config_type(), {**logs, "account": "x"}).success


def test_what_differs_from_the_instance_of_one_machine_is_what_the_file_says() -> None:
    ours, theirs = content(), content(PRODUCTION)
    assert ours["storage"]["postgres"].pop("auth_provider") == {"azure_wif": {}}
    assert ours["storage"]["postgres"]["postgres_db"].pop("params") == {"sslmode": "require"}
    assert theirs["storage"]["postgres"]["postgres_db"].pop("password")
    differ = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
    assert differ == {"run_launcher", "run_monitoring", "concurrency"}
