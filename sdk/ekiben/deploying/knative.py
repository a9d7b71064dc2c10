"""Knative and KServe: one object that says it all, beside the route that it reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from ekiben.deploying import pods
from ekiben.deploying.kubernetes import ROUTE_HEAD, secrets, service_account
from ekiben.deploying.sites import Site
from ekiben.deploying.yamls import Why, dumps
from ekiben.explaining import wishes
from ekiben.spec.writing import route_text

KNATIVE = "serving.knative.dev"


def knative_written(site: Site) -> Iterator[tuple[str, str]]:
    """Give each file for Knative."""
    head = "What runs, and down to how few pods."
    path = "spec/template/spec/volumes/configMap/name"
    yield from _together(site, "service", knative, path, head, _in_one_namespace(site))


def kserve_written(site: Site) -> Iterator[tuple[str, str]]:
    """Give each file for KServe."""
    head = "What KServe serves, by the Open Inference Protocol."
    yield from _together(site, "inferenceservice", kserve, "spec/predictor/volumes/configMap/name", head, {})


def _together(
    site: Site, name: str, describe: Callable[[Site], dict[str, Any]], path: str, head: str, more: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Give an object's files, and below a folder of its own those of what explains beside it."""
    own = f"kubectl apply -k .\n{secrets(site)}"
    if site.explainer is None:
        yield from _beside(site, name, describe(site), path, head, {}, own)
        return
    second = site.explainer
    told = _beside(second, name, describe(second), path, head, {}, f"What explains beside it.\n{secrets(second)}")
    yield from ((f"explainer/{each}", text) for each, text in told)
    yield from _beside(site, name, describe(site), path, head, {"resources": ["explainer"], **more}, own)


def _in_one_namespace(site: Site) -> dict[str, Any]:
    """Let kustomize write the namespace into the address of what explains: Knative's pods may not read their own."""
    if site.explainer is None:
        return {}
    field = f"spec.template.spec.containers.0.env.[name={wishes.ELSEWHERE}].value"
    return {
        Why("namespace", "also in the address of what explains, which callers are told"): site.name,
        "replacements": [
            {
                "source": {"group": KNATIVE, "kind": "Service", "name": site.name, "fieldPath": "metadata.namespace"},
                "targets": [
                    {
                        "select": {"group": KNATIVE, "kind": "Service", "name": site.name},
                        "fieldPaths": [field],
                        "options": {"delimiter": ".", "index": 1},
                    }
                ],
            }
        ],
    }


def _beside(
    site: Site, name: str, document: dict[str, Any], path: str, head: str, more: dict[str, Any], own: str
) -> Iterator[tuple[str, str]]:
    """Give an object's file with those that it needs."""
    yield f"{name}.yaml", dumps(document, head=head)
    yield "serviceaccount.yaml", dumps(service_account(site))
    yield pods.ROUTE_FILE, ROUTE_HEAD + route_text(site.spec)
    key = Why("configMapGenerator", "its name holds a digest of the route: another route rolls out")
    named = {"path": path, "kind": document["kind"], "group": document["apiVersion"].partition("/")[0]}
    references = {"nameReference": [{"kind": "ConfigMap", "version": "v1", "fieldSpecs": [named]}]}
    yield (
        "references.yaml",
        dumps(references, head="Where this object names the ConfigMap, whose name kustomize changes."),
    )
    kustomization: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        **more,
        "resources": [f"{name}.yaml", "serviceaccount.yaml", *more.get("resources", ())],
        "configurations": ["references.yaml"],
        key: [{"name": f"{site.name}-route", "files": [pods.ROUTE_FILE]}],
    }
    yield "kustomization.yaml", dumps(kustomization, head=own)


def knative(site: Site) -> dict[str, Any]:
    """Describe a service of Knative."""
    least, most = site.replicas
    host = f"{site.explainer.name}.{site.name}.svc" if site.explainer else ""
    container = pods.container(site, port="http1", host=host)
    container.pop("name")
    at_once = site.spec.limits.concurrency * site.spec.workers
    annotations = {
        Why(
            "autoscaling.knative.dev/min-scale", "a pod takes seconds to load its models; 0 lets callers wait for it"
        ): str(least),
        "autoscaling.knative.dev/max-scale": str(most),
        "autoscaling.knative.dev/metric": "rps",
        "autoscaling.knative.dev/target": str(site.answers_a_s),
    }
    return {
        "apiVersion": f"{KNATIVE}/v1",
        "kind": "Service",
        "metadata": {"name": site.name, "labels": site.labels},
        "spec": {
            "template": {
                "metadata": {"labels": site.labels, "annotations": annotations},
                "spec": {
                    "serviceAccountName": site.name,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    Why("containerConcurrency", "what the service itself takes at once"): at_once,
                    "timeoutSeconds": math.ceil(site.spec.timeout_s),
                    "containers": [_ported(container, "http1")],
                    "volumes": pods.volumes(site, mode=None),
                },
            }
        },
    }


def _ported(container: dict[str, Any], port: str) -> dict[str, Any]:
    """Let the probes ask the port by the name that it has here."""
    for key in ("startupProbe", "readinessProbe", "livenessProbe"):
        container[key]["httpGet"]["port"] = port
    return container


def kserve(site: Site) -> dict[str, Any]:
    """Describe an inference service of KServe."""
    least, most = site.replicas
    host = f"{site.explainer.name}-predictor.$(POD_NAMESPACE).svc" if site.explainer else ""
    container = pods.container(site, name="kserve-container", host=host)
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": site.name,
            "labels": site.labels,
            "annotations": {
                Why("serving.kserve.io/deploymentMode", "plain Deployments, which let a pod drain"): "RawDeployment"
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": least,
                "maxReplicas": most,
                "scaleMetric": "cpu",
                "scaleTarget": 100,
                "timeout": math.ceil(site.spec.timeout_s),
                "serviceAccountName": site.name,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "securityContext": pods.pod_security(),
                "terminationGracePeriodSeconds": site.grace_s,
                "containers": [container],
                "volumes": pods.volumes(site),
            }
        },
    }
