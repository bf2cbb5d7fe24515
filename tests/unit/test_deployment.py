"""What `deploy/` holds is what Dagster and Kubernetes understand; no cluster is there to run it on."""

import re
from pathlib import Path

import pytest
import yaml

from pipelines import jobs

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
VERSION = "1.33"
"""Of Kubernetes, the oldest that is still maintained."""
GPU = "nvidia.com/gpu"


def values(*keys):
    found = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
    for key in keys:
        found = found[key]
    return found


def snake(name):
    return re.sub("(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[0].lower()}", name)


def pod_of(job):
    """The Kubernetes job that Dagster makes of a run of `job` with our values for the chart."""
    pytest.importorskip("dagster_k8s", reason="the extra kubernetes is not installed")
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import (
        DagsterK8sJobConfig,
        UserDefinedDagsterK8sConfig,
        construct_dagster_k8s_job,
        get_user_defined_k8s_config,
    )
    from kubernetes.client import ApiClient

    usual = values("runLauncher", "config", "k8sRunLauncher", "runK8sConfig")
    usual = UserDefinedDagsterK8sConfig.from_dict({snake(key): value for key, value in usual.items()})
    context = K8sContainerContext(run_k8s_config=usual).merge(
        K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(job.tags))
    )
    made = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image="fineface", dagster_home="/opt/dagster/dagster_home"),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run-1",
        user_defined_k8s_config=context.run_k8s_config,
        component="run_worker",
    )
    return ApiClient().sanitize_for_serialization(made)


@pytest.mark.parametrize(
    ("job", "gpus"), [(jobs.raw, None), (jobs.data_set, "1"), (jobs.experiment, "1"), (jobs.comparison, None)]
)
def test_a_run_is_a_pod_with_a_gpu_where_models_are_asked_and_one_without_elsewhere(job, gpus):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    pod = pod_of(job)
    kubernetes_validate.validate(pod, VERSION, strict=True)
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"].get(GPU) == gpus
    assert container["resources"]["limits"]["memory"] == "64Gi", "what all runs have stays"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert {"scratch", "memory"} <= mounted
    assert "command" not in container, "the image has no entry point of its own: arguments are the command"


def test_the_nightly_job_is_valid_and_asks_for_a_gpu():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    nightly = yaml.safe_load((DEPLOY / "kubernetes" / "nightly.yaml").read_text())
    kubernetes_validate.validate(nightly, VERSION, strict=True)
    pod = nightly["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"][GPU] == 1 and container["args"][0] == "fineface"
    assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_services_and_runs_are_of_one_image_and_the_module_is_ours():
    (location,) = values("dagster-user-deployments", "deployments")
    assert location["dagsterApiGrpcArgs"] == ["--module-name", "pipelines.definitions"]
    assert location["includeConfigInLaunchedRuns"] == {"enabled": True}, "runs are told home and profile"
    assert {"FINEFACE_HOME", "FINEFACE_PROFILE"} <= {one["name"] for one in location["env"]}
    assert not any("SECRET" in one["name"] for one in location["env"]), "credentials come from a secret"


def test_the_image_installs_what_the_project_pins_and_is_not_root():
    lines = (DEPLOY / "Containerfile").read_text()
    (torch,) = re.findall(r"torch==([\d.]+)", lines)
    assert f"torch=={torch}" in (PROJECT / "Makefile").read_text()
    assert "--constraint constraints.txt" in lines and "\nUSER 1000\n" in lines and "ENTRYPOINT" not in lines
    copied = re.findall(r"^COPY ([^\n]+) \./$", lines, re.MULTILINE)
    assert all((PROJECT / name).is_file() for name in copied[0].split())
