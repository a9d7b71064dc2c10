"""Plain Kubernetes: a base that any cluster takes, overlays for two stages, and components for what a cluster may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ekiben.deploying import pods
from ekiben.deploying.monitoring import PER_SECOND, adapter_rule, alerts, service_monitor
from ekiben.deploying.sites import PORT, Site
from ekiben.deploying.yamls import Why, dumps
from ekiben.spec.writing import route_text

KUSTOMIZE = "kustomize.config.k8s.io"
POSTGRES_PORT = 5432
ROUTE_HEAD = "# Which arm answers how often. A change is rolled out pod by pod, and no request fails.\n"
ADAPTER = "Values of the chart of prometheus-adapter: it gives autoscalers what they count. No object of the cluster."


def written(site: Site) -> Iterator[tuple[str, str]]:
    """Give each file: its name below the folder, and its text."""
    yield from _base(site)
    if site.explainer:
        yield from _base(site.explainer, "explainer")
    yield from _monitoring(site)
    yield from _rollout(site)
    yield from _overlay(site, "staging")
    yield from _overlay(site, "production")


# ── the base ──


def _base(site: Site, folder: str = "base") -> Iterator[tuple[str, str]]:
    made = {
        "serviceaccount": (service_account(site), "Who the pods are: nobody whom the cluster's API would answer."),
        "deployment": (deployment(site), f"{site.spec.name}: what runs."),
        "service": (service(site), "Where it is asked."),
        "hpa": (autoscaler(site), "How many pods run; the component `monitoring` counts answers as well."),
        "pdb": (disruption_budget(site), "A node that is emptied takes one pod after another."),
        "networkpolicy": (network_policy(site), "Who may ask, and whom the service may ask."),
    }
    for name, (document, head) in made.items():
        yield f"{folder}/{name}.yaml", dumps(document, head=head)
    yield f"{folder}/{pods.ROUTE_FILE}", ROUTE_HEAD + route_text(site.spec)
    kustomization = {
        **_kustomization(),
        "resources": [f"{name}.yaml" for name in made],
        Why(
            "configMapGenerator", "its name holds a digest of the route: another route is another name, and rolls out"
        ): [{"name": f"{site.name}-route", "files": [pods.ROUTE_FILE]}],
    }
    yield f"{folder}/kustomization.yaml", dumps(kustomization, head=f"Runs on any cluster.\n{secrets(site)}")


def secrets(site: Site) -> str:
    """Say which secrets there must be before the pods can start."""
    told = []
    if site.keys:
        told.append(f"kubectl create secret generic {site.name}-keys --from-file={pods.KEYS_FILE}")
    if site.is_shipped:
        told.append(f"kubectl create secret generic {site.name}-records --from-file={pods.DSN_FILE}")
    if site.keys and "monitoring" in site.components:
        told.append(f"kubectl create secret generic {site.name}-metrics --from-file=token")
    return "\n".join(["In its namespace there must be, first:" if told else "It needs no secret.", *told])


def _kustomization(kind: str = "Kustomization") -> dict[str, Any]:
    return {"apiVersion": f"{KUSTOMIZE}/{'v1alpha1' if kind == 'Component' else 'v1beta1'}", "kind": kind}


def _object(api: str, kind: str, site: Site, name: str | None = None) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name or site.name, "labels": site.labels}}


def service_account(site: Site) -> dict[str, Any]:
    """Describe the pods' account."""
    return _object("v1", "ServiceAccount", site) | {"automountServiceAccountToken": False}


def deployment(site: Site) -> dict[str, Any]:
    """Describe what runs."""
    return _object("apps/v1", "Deployment", site) | {
        "spec": {
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": site.selector},
            Why("strategy", "a pod ends once another has taken its place"): {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {"metadata": {"labels": site.labels}, "spec": pod(site)},
        }
    }


def pod(site: Site) -> dict[str, Any]:
    """Describe one pod."""
    said = f"it drains for {site.drain_s} s, then finishes what it has taken: {site.spec.timeout_s:g} s at most"
    return {
        "serviceAccountName": site.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pods.pod_security(),
        Why("terminationGracePeriodSeconds", said): site.grace_s,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": site.selector},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "containers": [pods.container(site)],
        "volumes": pods.volumes(site),
    }


def service(site: Site) -> dict[str, Any]:
    """Describe where it is asked."""
    return _object("v1", "Service", site) | {
        "spec": {
            "type": "ClusterIP",
            "selector": site.selector,
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        }
    }


def autoscaler(site: Site, *, on_answers: bool = False) -> dict[str, Any]:
    """Describe how many pods run: by the processor, or by the answers a second as well."""
    least, most = site.replicas
    metrics: list[dict[str, Any]] = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 100}}}
    ]
    if on_answers:
        metric = {
            "metric": {"name": PER_SECOND},
            "target": {"type": "AverageValue", "averageValue": str(site.answers_a_s)},
        }
        metrics.append({"type": "Pods", "pods": metric})
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", site) | {
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": site.name},
            "minReplicas": least,
            "maxReplicas": most,
            Why("metrics", "per cent of the processor that a pod asks for: half of what its workers can use"): metrics,
            "behavior": {
                Why("scaleDown", "a lull is no end"): {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                },
                "scaleUp": {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}]},
            },
        }
    }


def disruption_budget(site: Site) -> dict[str, Any]:
    """Describe how many pods may be taken away at once."""
    return _object("policy/v1", "PodDisruptionBudget", site) | {
        "spec": {
            Why("maxUnavailable", "also of a single pod: one that may never go stops every node from being emptied"): 1,
            "selector": {"matchLabels": site.selector},
            Why("unhealthyPodEvictionPolicy", "a pod that is not ready serves nobody"): "AlwaysAllow",
        }
    }


def network_policy(site: Site) -> dict[str, Any]:
    """Describe who may ask, and whom the service may ask."""
    spaces = [*site.callers, *(["monitoring"] if "monitoring" in site.components else [])]
    peers: list[dict[str, Any]] = [{"podSelector": {}}] + [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": each}}} for each in spaces
    ]
    egress: list[dict[str, Any]] = []
    if site.is_shipped:
        names = {
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
            "ports": [{"protocol": each, "port": 53} for each in ("UDP", "TCP")],
        }
        egress = [names, {"ports": [{"protocol": "TCP", "port": POSTGRES_PORT}]}]
    said = "to Postgres alone" if site.is_shipped else "nowhere: a service starts and answers without a network"
    return _object("networking.k8s.io/v1", "NetworkPolicy", site) | {
        "spec": {
            "podSelector": {"matchLabels": site.selector},
            "policyTypes": ["Ingress", "Egress"],
            Why("ingress", "from its own namespace, and those that are named"): [
                {"from": peers, "ports": [{"protocol": "TCP", "port": PORT}]}
            ],
            Why("egress", said): egress,
        }
    }


# ── components ──


def _monitoring(site: Site) -> Iterator[tuple[str, str]]:
    folder = "components/monitoring"
    yield f"{folder}/servicemonitor.yaml", dumps(service_monitor(site), head="What Prometheus asks.")
    own = ["explainer-servicemonitor.yaml"] if site.explainer else []
    if site.explainer:
        yield (
            f"{folder}/{own[0]}",
            dumps(service_monitor(site.explainer), head="What Prometheus asks of what explains."),
        )
    rule = _object("monitoring.coreos.com/v1", "PrometheusRule", site) | {"spec": alerts()}
    yield f"{folder}/prometheusrule.yaml", dumps(rule, head="When somebody is to be woken.")
    yield (
        f"{folder}/hpa.yaml",
        dumps(autoscaler(site, on_answers=True), head="The base's, by answers a second as well."),
    )
    yield f"{folder}/adapter.values", dumps({"rules": {"custom": [adapter_rule()]}}, head=ADAPTER)
    kustomization = {
        **_kustomization("Component"),
        "resources": ["servicemonitor.yaml", *own, "prometheusrule.yaml"],
        "patches": [{"path": "hpa.yaml"}],
    }
    head = "Needs the Prometheus operator, and an adapter that gives ekiben_answers_per_second to autoscalers, as adapter.values tells it."
    yield f"{folder}/kustomization.yaml", dumps(kustomization, head=head)


def _rollout(site: Site) -> Iterator[tuple[str, str]]:
    folder = "components/rollout"
    yield f"{folder}/rollout.yaml", dumps(rollout(site), head="A new version, step by step.")
    yield f"{folder}/analysistemplate.yaml", dumps(analysis(site), head="Whether the new version may go on.")
    target = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": site.name}
    patch = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": site.name},
        "spec": {"scaleTargetRef": target},
    }
    yield f"{folder}/hpa.yaml", dumps(patch, head="The Rollout is scaled, and not the Deployment behind it.")
    still = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": site.name},
        "spec": {Why("replicas", "the Rollout runs the pods; this is their template"): 0},
    }
    yield f"{folder}/deployment.yaml", dumps(still)
    kustomization = {
        **_kustomization("Component"),
        "resources": ["rollout.yaml", "analysistemplate.yaml"],
        "patches": [{"path": "hpa.yaml"}, {"path": "deployment.yaml"}],
    }
    yield f"{folder}/kustomization.yaml", dumps(kustomization, head="Needs Argo Rollouts.")


def rollout(site: Site) -> dict[str, Any]:
    """Describe how a new version comes: step by step, while its answers do not fail."""
    steps: list[dict[str, Any]] = []
    for percent in site.ramp:
        steps += [{"setWeight": percent}, {"pause": {"duration": "5m"}}]
    latest = {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}
    return _object("argoproj.io/v1alpha1", "Rollout", site) | {
        "spec": {
            "revisionHistoryLimit": 5,
            "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": site.name},
            "strategy": {
                "canary": {
                    "maxSurge": 1,
                    "maxUnavailable": 0,
                    Why("steps", "per cent of the pods; arms within a version are the route's"): steps,
                    "analysis": {"templates": [{"templateName": site.name}], "startingStep": 1, "args": [latest]},
                }
            },
        }
    }


def analysis(site: Site) -> dict[str, Any]:
    """Describe what takes a new version back: one that fails callers more than the alert of the same name allows."""
    fails, every = (
        f'sum(rate(ekiben_answers_total{{job="{site.name}",endpoint!="shadow",rollouts_pod_template_hash="{{{{args.hash}}}}"{codes}}}[5m]))'
        for codes in (',code=~"internal|timeout|not_recorded"', "")
    )
    return _object("argoproj.io/v1alpha1", "AnalysisTemplate", site) | {
        "spec": {
            "args": [{"name": "hash"}],
            "metrics": [
                {
                    "name": "failures",
                    "interval": "1m",
                    "initialDelay": "2m",
                    "failureLimit": 1,
                    Why("successCondition", "nobody asked, or at most 1 of 1,000 answers failed"): (
                        "len(result) == 0 || isNaN(result[0]) || result[0] <= 0.001"
                    ),
                    "provider": {
                        "prometheus": {
                            Why("address", "where the operator's own Prometheus is"): (
                                "http://prometheus-operated.monitoring.svc:9090"
                            ),
                            "query": f"{fails}\n/ {every}\n",
                        }
                    },
                }
            ],
        }
    }


# ── overlays ──


def _overlay(site: Site, stage: str) -> Iterator[tuple[str, str]]:
    folder, space = f"overlays/{stage}", site.name if stage == "production" else f"{site.name}-{stage}"
    labels = {
        "app.kubernetes.io/managed-by": "ekiben",
        Why("pod-security.kubernetes.io/enforce", "pods that could do more than these are refused"): "restricted",
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "labels": labels}}
    yield f"{folder}/namespace.yaml", dumps(namespace)
    kustomization: dict[str, Any] = {
        **_kustomization(),
        "namespace": space,
        "resources": ["namespace.yaml", "../../base", *(["../../explainer"] if site.explainer else [])],
    }
    if stage == "production":
        kustomization |= (
            {"components": [f"../../components/{each}" for each in site.components]} if site.components else {}
        )
    else:
        small = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": site.name},
            "spec": {"minReplicas": 1, "maxReplicas": min(2, site.replicas[1])},
        }
        yield f"{folder}/hpa.yaml", dumps(small)
        kustomization["patches"] = [{"path": "hpa.yaml"}]
    key = Why("images", "what this stage runs: `kustomize edit set image` writes it here")
    kustomization[key] = [_image(each) for each in (site, site.explainer) if each]
    yield f"{folder}/kustomization.yaml", dumps(kustomization, head=f"kubectl apply -k {folder}")


def _image(site: Site) -> dict[str, str]:
    rest = site.image.removeprefix(site.image_name)
    tag, _, digest = rest.partition("@")
    return {"name": site.image_name} | ({"digest": digest} if digest else {"newTag": tag.removeprefix(":")})
