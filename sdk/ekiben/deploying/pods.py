"""The pod of a service: one container, hardened, probed, and drained."""

from __future__ import annotations

from typing import Any

from ekiben.deploying.sites import PORT, TMP_MB, USER, Site
from ekiben.deploying.yamls import Why
from ekiben.explaining import wishes

KEPT, ROUTE, KEYS, RECORDS = "/var/lib/ekiben", "/etc/ekiben/route", "/etc/ekiben/keys", "/etc/ekiben/records"
KEYS_FILE, DSN_FILE, ROUTE_FILE = "keys.toml", "dsn", "route.toml"
READY_S, READY_FAILURES = 2, 2  # at most this long after it drains a pod is asked no more


def environment(site: Site) -> dict[str, str]:
    """Give what the container's environment says."""
    told = {
        "BENTOML_HOME": "/tmp/bentoml",
        "BENTOML_PORT": str(PORT),
        "HOME": "/tmp",
        "EKIBEN_HOME": KEPT,
        "EKIBEN_DRAIN_S": str(site.drain_s),
        "EKIBEN_ROUTE_FILE": f"{ROUTE}/{ROUTE_FILE}",
    }
    if site.keys:
        told["EKIBEN_KEYS_FILE"] = f"{KEYS}/{KEYS_FILE}"
    if site.is_shipped:
        told["EKIBEN_RECORDS_DSN_FILE"] = f"{RECORDS}/{DSN_FILE}"
    return told


def container(site: Site, *, name: str = "service", port: str = "http", host: str = "") -> dict[str, Any]:
    """Describe the container; `host` is where its explainer is asked, by default the Service of that name."""
    variables: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in environment(site).items()]
    if site.claim:
        variables.append(_field("POD_NAME", "metadata.name"))
    if site.explainer:
        variables += _explainer(host or f"{site.explainer.name}.$(POD_NAMESPACE).svc")
    return {
        "name": name,
        "image": site.image,
        "ports": [{"name": port, "containerPort": PORT, "protocol": "TCP"}],
        Why("env", "nothing is written but below /tmp and what is kept"): variables,
        **probes(),
        Why("resources", _whence(site)): site.resources(),
        "securityContext": container_security(),
        "volumeMounts": mounts(site),
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _explainer(host: str) -> list[dict[str, Any]]:
    said = "told to callers who ask for a method that is explained there; nothing is forwarded"
    own = [_field("POD_NAMESPACE", "metadata.namespace")] if "$(POD_NAMESPACE)" in host else []
    return [*own, {Why("name", said): wishes.ELSEWHERE, "value": f"http://{host}"}]


def _whence(site: Site) -> str:
    if site.load is None:
        said = (
            "nothing was measured: a supervisor, and a worker with scikit-learn or XGBoost; see `ekiben check --json`"
        )
    else:
        said = "as measured by `ekiben check`, and a quarter more"
    return f"{said};\nthe limit leaves each explaining process its own, so that one that fills it fails alone"


def probes() -> dict[str, Any]:
    """Describe the probes; they ask for no key."""
    live, ready = ({"path": path, "port": "http"} for path in ("/livez", "/readyz"))
    return {
        Why("startupProbe", "models may take two minutes to load; the socket is open before, and does not answer"): {
            "httpGet": ready,
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 60,
        },
        Why("readinessProbe", "soon off when the pod is told to end, before it stops answering"): {
            "httpGet": dict(ready),
            "periodSeconds": READY_S,
            "timeoutSeconds": 2,
            "failureThreshold": READY_FAILURES,
        },
        Why("livenessProbe", "slow to judge: a busy service is not a dead one, and its supervisor replaces workers"): {
            "httpGet": live,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def container_security() -> dict[str, Any]:
    """Describe what the container may not."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": USER,
        "runAsNonRoot": True,
        Why("runAsUser", "a number: a cluster cannot tell from a name that it is not root"): USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_security() -> dict[str, Any]:
    """Describe who the pod's processes are."""
    return {
        Why("fsGroup", "so that the user may read the secrets and write what is kept"): USER,
        "runAsGroup": USER,
        "runAsNonRoot": True,
        "runAsUser": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def mounts(site: Site) -> list[dict[str, Any]]:
    """Describe where the container finds its volumes."""
    kept: dict[str, Any] = {"name": "kept", "mountPath": KEPT}
    if site.claim:
        kept |= {Why("subPathExpr", "a folder for each pod; records of several are read together"): "$(POD_NAME)"}
    found = [{"name": "tmp", "mountPath": "/tmp"}, kept, {"name": "route", "mountPath": ROUTE, "readOnly": True}]
    if site.keys:
        found.append({"name": "keys", "mountPath": KEYS, "readOnly": True})
    if site.is_shipped:
        found.append({"name": "records", "mountPath": RECORDS, "readOnly": True})
    return found


def volumes(site: Site, *, mode: int | None = 0o440) -> list[dict[str, Any]]:
    """Describe the pod's volumes."""
    modes: dict[str, int] = {} if mode is None else {Why("defaultMode", f"0{mode:o}"): mode}
    found: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {"sizeLimit": f"{TMP_MB}Mi"}},
        _kept(site),
        {"name": "route", "configMap": {"name": f"{site.name}-route", "items": _item(ROUTE_FILE)}},
    ]
    if site.keys:
        secret = {"secretName": f"{site.name}-keys", "items": _item(KEYS_FILE), **modes}
        found.append(
            {Why("name", "what `ekiben key` writes; looked at again when it changes"): "keys", "secret": secret}
        )
    if site.is_shipped:
        secret = {"secretName": f"{site.name}-records", "items": _item(DSN_FILE), **modes}
        found.append({Why("name", "the address of Postgres; read at every connection"): "records", "secret": secret})
    return found


def _item(name: str) -> list[dict[str, str]]:
    return [{"key": name, "path": name}]


def _kept(site: Site) -> dict[str, Any]:
    if site.claim:
        return {"name": "kept", "persistentVolumeClaim": {"claimName": site.claim}}
    lost = "records wait here for Postgres" if site.is_shipped else "records and tickets"
    if site.spec.records.to == "off":
        lost = "tickets of explanations"
    key = Why("name", f"{lost}; outlives the container, and not the pod")
    return {key: "kept", "emptyDir": {"sizeLimit": f"{site.kept_mi}Mi"}}
