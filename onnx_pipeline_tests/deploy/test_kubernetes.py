"""`deploy/kubernetes`: the Jobs that a run's launcher makes of its values, and the manifests, by Kubernetes' own schemas."""

import re
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import kubernetes
import kubernetes_validate
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test
from dagster_k8s import K8sRunLauncher

from onnx_pipeline.orchestration.pod_sizes import POD_SIZES_VARIABLE, largest_pod_tags, pod_tags

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "deploy" / "kubernetes" / "values.yaml"
MANIFESTS = ROOT / "deploy" / "kubernetes" / "scoring-service.yaml"
VERSIONS = (kubernetes_validate.utils.all_versions()[0], kubernetes_validate.utils.latest_version())

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


def values() -> Any:
    return yaml.safe_load(VALUES.read_text())


def code_server() -> Any:
    (found,) = values()["dagster-user-deployments"]["deployments"]
    return found


def snake(value: Any) -> Any:
    """As the chart writes keys of `runK8sConfig` for the launcher; what Kubernetes names stays."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower(): inner for key, inner in value.items()}


def launcher() -> K8sRunLauncher:
    """As the chart's templates/helpers/instance/_run-launcher.tpl makes it of the values, with an API that is a mock."""
    config = values()["runLauncher"]["config"]["k8sRunLauncher"]
    with mock.patch("dagster_k8s.launcher.load_kubernetes_config"):
        return K8sRunLauncher(
            service_account_name=values()["serviceAccount"]["name"],
            instance_config_map="dagster-instance",
            postgres_password_secret=values()["global"]["postgresqlSecretName"],
            dagster_home="/opt/dagster/dagster_home",
            job_namespace="onnx",
            image_pull_policy=config["imagePullPolicy"],
            labels=config["labels"],
            security_context=config["securityContext"],
            run_k8s_config=snake(config["runK8sConfig"]),
            k8s_client_batch_api=mock.create_autospec(kubernetes.client.BatchV1Api, instance=True),
            k8s_client_core_api=mock.create_autospec(kubernetes.client.CoreV1Api, instance=True),
        )


def container_context() -> Any:
    """What the chart gives runs of the code server's own: `dagsterUserDeployments.k8sContainerContext`."""
    server = code_server()
    assert server["includeConfigInLaunchedRuns"]["enabled"]
    return {
        "k8s": {
            "image_pull_policy": server["image"]["pullPolicy"],
            "env_config_maps": ["dagster-onnx-pipeline-user-env"],
            "env_secrets": [secret["name"] for secret in server["envSecrets"]],
            "volume_mounts": server["volumeMounts"],
            "volumes": server["volumes"],
            "labels": server["labels"],
            **({"resources": server["resources"]} if "resources" in server else {}),
            "namespace": "onnx",
            "service_account_name": values()["serviceAccount"]["name"],
            "env": server["env"],
            "run_k8s_config": {"pod_spec_config": {"automount_service_account_token": True}},
        }
    }


def job(tags: dict[str, str]) -> dict[str, Any]:
    """The Kubernetes Job of a run with these tags."""
    made = launcher()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        mock.patch.object(dg.DagsterInstance, "get_ref", return_value=None),
    ):
        made.register_instance(instance)
        origin = JobPythonOrigin(
            "length_of_stay",
            RepositoryPythonOrigin(
                "python",
                ModuleCodePointer("onnx_pipeline.definitions", "defs"),
                container_image="REGISTRY/onnx-pipeline:TAG",
                container_context=container_context(),
            ),
        )
        run = create_run_for_test(instance, job_name="length_of_stay", tags=tags, job_code_origin=origin)
        made.launch_run(LaunchRunContext(run, workspace=None))
    (call,) = made._api_client.batch_api.create_namespaced_job.call_args_list
    body = call.kwargs["body"]
    assert call.kwargs["namespace"] == "onnx"
    return kubernetes.client.ApiClient().sanitize_for_serialization(body)


def container(found: dict[str, Any]) -> dict[str, Any]:
    (only,) = found["spec"]["template"]["spec"]["containers"]
    return only


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes of the values."""
    (text,) = [entry["value"] for entry in code_server()["env"] if entry["name"] == POD_SIZES_VARIABLE]
    monkeypatch.setenv(POD_SIZES_VARIABLE, text)


@pytest.mark.parametrize(
    ("rows", "requests"),
    [
        (0, {"cpu": "1", "memory": "2Gi", "ephemeral-storage": "4Gi"}),
        (1_000_000, {"cpu": "1", "memory": "2Gi", "ephemeral-storage": "4Gi"}),
        (1_000_001, {"cpu": "2", "memory": "3Gi", "ephemeral-storage": "40Gi"}),
        (10**12, {"cpu": "4", "memory": "4Gi", "ephemeral-storage": "200Gi"}),
    ],
)
def test_the_pod_of_a_run_is_as_large_as_its_rows_want(sizes: None, rows: int, requests: dict[str, str]) -> None:
    found = container(job(pod_tags(rows)))["resources"]
    assert found["requests"] == requests
    assert found["limits"] == {name: size for name, size in requests.items() if name != "cpu"}


def test_a_run_without_tags_gets_the_largest_size_and_not_the_code_servers(sizes: None) -> None:
    assert container(job({}))["resources"] == container(job(largest_pod_tags()))["resources"]
    assert container(job({}))["resources"]["requests"]["memory"] == "4Gi"


def test_the_pod_is_one_per_run_nobody_in_particular_and_writes_to_its_own_disk(sizes: None) -> None:
    found = job(pod_tags(5))
    pod, only = found["spec"]["template"]["spec"], container(found)
    assert found["spec"]["backoffLimit"] == 0 and pod["restartPolicy"] == "Never", "a second pod has nothing staged"
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001}
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in only["volumeMounts"]} >= {"/scratch", "/tmp"}
    assert [volume for volume in pod["volumes"] if volume["name"] == "scratch"] == [{"name": "scratch", "emptyDir": {}}]
    assert pod["terminationGracePeriodSeconds"] == 120
    assert found["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert only["image"] == "REGISTRY/onnx-pipeline:TAG", "the code server's own"
    assert only["args"][2:5] == ["dagster", "api", "execute_run"]
    environment = {entry["name"]: entry.get("value") for entry in only["env"]}
    assert environment["ONNX_PIPELINE_HOME"] == "/scratch"
    assert environment["ONNX_PIPELINE_ARTIFACTS"].startswith("az://")
    assert [source["secretRef"]["name"] for source in only["envFrom"] if "secretRef" in source] == ["onnx-pipeline"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_job_is_one_to_the_oldest_and_the_newest_kubernetes(sizes: None, version: str) -> None:
    found = job(pod_tags(5))
    kubernetes_validate.validate(found, version, strict=True)
    container(found)["resources"]["request"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_valid_to_the_oldest_and_the_newest_kubernetes(version: str) -> None:
    kinds = []
    for document in yaml.safe_load_all(MANIFESTS.read_text()):
        kubernetes_validate.validate(document, version, strict=True)
        kinds.append(document["kind"])
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget"]
    document = next(yaml.safe_load_all(MANIFESTS.read_text()))
    document["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_values_say_of_kubernetes_is_valid(version: str) -> None:
    """Pods of the chart with the values' own parts in place."""
    parts = (values()["dagsterWebserver"], values()["dagsterDaemon"], code_server())
    for part in parts:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "of-the-chart", "labels": part["labels"]},
            "spec": {
                "securityContext": part["podSecurityContext"],
                "volumes": part["volumes"],
                "containers": [
                    {
                        "name": "one",
                        "env": part["env"],
                        "securityContext": part["securityContext"],
                        "volumeMounts": part["volumeMounts"],
                        "resources": part.get("resources", {}),
                    }
                ],
            },
        }
        kubernetes_validate.validate(pod, version, strict=True)
    for manifest in values()["extraManifests"]:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_chart_is_that_of_the_pinned_dagster_and_its_instance_one_that_dagster_reads() -> None:
    (pinned,) = re.findall(r"^dagster==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert f"--version {pinned} " in VALUES.read_text()
    extra = values()["additionalInstanceConfig"]
    retention = values()["retention"]
    settings = {
        **{name: extra[name] for name in ("concurrency",)},
        "retention": {kind: {"purge_after_days": retention[kind]["purgeAfterDays"]} for kind in ("schedule", "sensor")},
    }
    with dg.DagsterInstance.ephemeral(settings=settings) as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 4
    custom = values()["computeLogManager"]["config"]["customComputeLogManager"]
    instance_file = yaml.safe_load((ROOT / "deploy" / "production" / "dagster.yaml").read_text())
    assert {custom["module"], custom["class"]} == {instance_file["compute_logs"][name] for name in ("module", "class")}
    assert set(custom["config"]) == set(instance_file["compute_logs"]["config"])
