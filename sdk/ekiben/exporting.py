"""Write what a cloud's own SDK takes to run a service's image: SageMaker, Vertex AI, Azure Machine Learning."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ekiben import building, spec
from ekiben.deploying import yamls
from ekiben.deploying.sites import PORT, Site, pair_of, ramp_of
from ekiben.errors import SpecError, nearest

Cloud = Literal["sagemaker", "vertex", "azureml"]
INSTANCES: Mapping[str, str] = {"sagemaker": "ml.m5.large", "vertex": "n2-standard-2", "azureml": "Standard_DS3_v2"}
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}")
_AZURE = re.compile(r"[a-z][a-z0-9-]{1,30}[a-z0-9]")
HOME = "/tmp/ekiben"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of a cloud: a site, the machine it runs on, and whose rights it has."""

    site: Site
    instance: str
    role: str | None

    @property
    def environment(self) -> dict[str, str]:
        """What the container's environment says on every platform."""
        return {"BENTOML_HOME": "/tmp/bentoml", "EKIBEN_HOME": HOME}


def export(
    source: str | Path,
    *,
    target: Cloud,
    image: str,
    out: str | Path | None = None,
    role: str | None = None,
    instance: str | None = None,
    replicas: tuple[int, int] = (1, 4),
    ramp: Sequence[int] | None = None,
) -> Path:
    """Write what a cloud's own SDK takes to run a service's image.

    Parameters
    ----------
    source
        A bento's tag, or a service's folder.
    target
        `sagemaker`: the requests of boto3; `vertex`: the messages of google-cloud-aiplatform; `azureml`: the YAML of
        azure-ai-ml.
    image
        The image's reference where the cloud finds it, with a tag that stays or a digest.
    out
        Where to; by default `deploy/<target>` in the service's folder, or here where a tag is given.
    role
        The ARN of the role that SageMaker takes on; only there.
    instance
        The kind of machine; by default a small one.
    replicas
        The fewest and the most machines.
    ramp
        Per cent of a new version; SageMaker begins with the first. By default the share of the spec's smallest arm.

    Returns
    -------
    The folder that was written.

    Raises
    ------
    NotFoundError
        If there is no such bento or folder.
    SpecError
        If what is asked for cannot be.

    Examples
    --------
    >>> export("no/such/folder", target="vertex", image="europe-docker.pkg.dev/p/r/churn:1")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A bento's folder must have a file ekiben.toml. Got 'no/such/folder', which has none. \
To make one, run: ekiben scaffold no/such/folder
    """
    if target not in _WRITERS:
        known = get_args(Cloud)
        raise SpecError(f"The 'target' must be one of {', '.join(known)}. Got {target!r}.{nearest(str(target), known)}")
    is_tag = isinstance(source, str) and ":" in source and not Path(source).is_dir()
    folder = building.source_of(str(source)) if is_tag else Path(source)
    described = spec.read(folder)
    steps = tuple(ramp) if ramp is not None else ramp_of(described)
    site = Site(spec=described, image=image, keys=False, replicas=pair_of(replicas), ramp=steps)
    order = Order(site=site, instance=instance or INSTANCES[target], role=role)
    texts = dict(_WRITERS[target](order))
    place = Path(out) if out is not None else (Path() if is_tag else folder) / "deploy" / target
    place.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (place / name).write_text(text, encoding="utf-8")
    return place


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


# ── SageMaker ──


def _sagemaker(order: Order) -> Iterator[tuple[str, str]]:
    """Give the requests of boto3's client `sagemaker`, each named like the method that takes it."""
    if order.role is None or not _ROLE.fullmatch(order.role):
        raise SpecError(
            "The 'role' must be the ARN of the role that SageMaker takes on, such as "
            f"arn:aws:iam::123456789012:role/serving. Got {order.role!r}."
        )
    site = order.site
    name = f"{site.name}-{re.sub(r'[^A-Za-z0-9]+', '-', site.version)}"[:63].rstrip("-")
    least, most = site.replicas
    container = {"Image": site.image, "Environment": {**order.environment, "BENTOML_PORT": "8080"}}
    yield (
        "create_model.json",
        _json(
            {
                "ModelName": name,
                "PrimaryContainer": container,
                "ExecutionRoleArn": order.role,
                "EnableNetworkIsolation": not site.is_shipped,
            }
        ),
    )
    variant = {
        "VariantName": "all",
        "ModelName": name,
        "InitialInstanceCount": least,
        "InstanceType": order.instance,
        "InitialVariantWeight": 1.0,
        "ContainerStartupHealthCheckTimeoutInSeconds": 120,
        "ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": least, "MaxInstanceCount": most},
    }
    yield "create_endpoint_config.json", _json({"EndpointConfigName": name, "ProductionVariants": [variant]})
    yield "create_endpoint.json", _json({"EndpointName": site.name, "EndpointConfigName": name})
    yield (
        "update_endpoint.json",
        _json({"EndpointName": site.name, "EndpointConfigName": name, "DeploymentConfig": _shifted(site)}),
    )


def _shifted(site: Site) -> dict[str, Any]:
    """Say how SageMaker goes over to a new version: some of it, then the rest after five minutes; back when it fails."""
    routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300}
    if site.ramp:  # SageMaker takes a half at most
        routing |= {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": min(50, site.ramp[0])}}
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": 120,
            "MaximumExecutionTimeoutInSeconds": 3600,
        }
    }


# ── Vertex ──


def _vertex(order: Order) -> Iterator[tuple[str, str]]:
    """Give messages of google-cloud-aiplatform as JSON: `aiplatform_v1.Model`, `Endpoint` and `DeployedModel`."""
    site = order.site
    least, most = site.replicas
    container = {
        "imageUri": site.image,
        "ports": [{"containerPort": 8080}],
        "predictRoute": "/invocations",
        "healthRoute": "/ping",
        "env": [{"name": key, "value": value} for key, value in order.environment.items()],
        "deploymentTimeout": "1200s",
    }
    labels = {"managed-by": "ekiben"}
    model = {"displayName": site.name, "containerSpec": container, "labels": labels}
    yield "model.json", _json(model)
    yield "endpoint.json", _json({"displayName": site.name, "labels": labels})
    yield (
        "deployed_model.json",
        _json(
            {
                "displayName": site.name,
                "dedicatedResources": {
                    "machineSpec": {"machineType": order.instance},
                    "minReplicaCount": least,
                    "maxReplicaCount": most,
                    "autoscalingMetricSpecs": [
                        {"metricName": "aiplatform.googleapis.com/prediction/online/cpu/utilization", "target": 60}
                    ],
                },
            }
        ),
    )


# ── Azure ──


def _azureml(order: Order) -> Iterator[tuple[str, str]]:
    """Give the YAML of azure-ai-ml: an endpoint, and its deployment."""
    site, why = order.site, yamls.Why
    if not _AZURE.fullmatch(site.name):
        raise SpecError(f"An endpoint of Azure has a name of 3 to 32 letters. Got {site.name!r}. Name the service so.")
    schemas = "https://azuremlschemas.azureedge.net/latest"
    endpoint = {
        "$schema": f"{schemas}/managedOnlineEndpoint.schema.json",
        "name": site.name,
        why("auth_mode", "the endpoint asks for a key of its own; the container does not"): "key",
    }
    yield "endpoint.yml", yamls.dumps(endpoint, head="az ml online-endpoint create --file endpoint.yml")
    timeout_ms = math.ceil(min(site.spec.timeout_s, 180) * 1000)
    deployment = {
        "$schema": f"{schemas}/managedOnlineDeployment.schema.json",
        "name": "blue",
        "endpoint_name": site.name,
        "environment": {
            "name": site.name,
            "image": site.image,
            "inference_config": {
                "liveness_route": {"port": PORT, "path": "/livez"},
                "readiness_route": {"port": PORT, "path": "/readyz"},
                "scoring_route": {"port": PORT, "path": "/score"},
            },
        },
        "environment_variables": {**order.environment, "BENTOML_PORT": str(PORT)},
        "instance_type": order.instance,
        "instance_count": site.replicas[0],
        "request_settings": {
            "request_timeout_ms": timeout_ms,
            why("max_concurrent_requests_per_instance", "what the service itself takes at once"): (
                site.spec.limits.concurrency * site.spec.workers
            ),
        },
        why("liveness_probe", "slow to judge: its supervisor replaces workers"): {
            "initial_delay": 120,
            "period": 10,
            "timeout": 5,
            "failure_threshold": 6,
        },
        "readiness_probe": {"initial_delay": 5, "period": 2, "timeout": 2, "failure_threshold": 60},
    }
    yield "deployment.yml", yamls.dumps(deployment, head="az ml online-deployment create --file deployment.yml")


_WRITERS: Mapping[Cloud, Callable[[Order], Iterator[tuple[str, str]]]] = {
    "sagemaker": _sagemaker,
    "vertex": _vertex,
    "azureml": _azureml,
}
