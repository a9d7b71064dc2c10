"""What Prometheus asks of a service and when it alarms, and the dashboard that Grafana shows."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from ekiben.deploying import yamls
from ekiben.deploying.sites import Site

ALERTS, DASHBOARD = "alerts.yml", "dashboard.json"
EVERY = "15s"
PER_SECOND = "ekiben_answers_per_second"  # what an autoscaler counts


def text(name: str) -> str:
    """Give one of the files: the alerts, or the dashboard."""
    return (files("ekiben.deploying.monitoring") / name).read_text(encoding="utf-8")


def alerts() -> dict[str, Any]:
    """Give the alerting rules."""
    rules: dict[str, Any] = yamls.loads(text(ALERTS), source=ALERTS)[0]
    return rules


def adapter_rule() -> dict[str, Any]:
    """Tell prometheus-adapter how to make the answers a second of a pod of the counter."""
    resources = {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
    return {
        "seriesQuery": 'ekiben_answers_total{namespace!="",pod!=""}',
        "resources": {"overrides": resources},
        "name": {"as": PER_SECOND},
        "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)",
    }


def service_monitor(site: Site) -> dict[str, Any]:
    """Describe to the operator of Prometheus what to scrape."""
    endpoint: dict[str, Any] = {"port": "http", "path": "/metrics", "interval": EVERY, "scrapeTimeout": "10s"}
    if site.keys:
        secret = {"name": f"{site.name}-metrics", "key": "token"}
        endpoint[yamls.Why("authorization", "a key of the scope `read`, for the metrics alone")] = {
            "type": "Bearer",
            "credentials": secret,
        }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": site.name, "labels": site.labels},
        "spec": {
            "jobLabel": "app.kubernetes.io/name",
            "selector": {"matchLabels": site.selector},
            yamls.Why("podTargetLabels", "tells a new version's pods from the old one's"): [
                "rollouts-pod-template-hash"
            ],
            "endpoints": [endpoint],
        },
    }
