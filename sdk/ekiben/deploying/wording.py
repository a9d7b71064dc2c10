"""Find misspelt values: of those that must be one of a few, of sizes and times, and of words that queries are made of."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from math import inf
from typing import Any

from ekiben.deploying import monitoring

Keys = tuple[str, ...]

LABELS = {
    *(f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "component", "part-of", "managed-by")),
    "kubernetes.io/metadata.name",
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    *(f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "audit", "warn", "enforce-version")),
    *("k8s-app", "severity", "release"),
}
ENDPOINTS = {"/livez", "/readyz", "/healthz", "/metrics", "/ping", "/v2/health/live", "/v2/health/ready"}
_CAPABILITIES = {
    *("ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN"),
    *(
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "IPC_LOCK",
        "IPC_OWNER",
        "KILL",
        "LEASE",
        "LINUX_IMMUTABLE",
    ),
    *("MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE"),
    *("SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM"),
}
_MODES = {"restricted", "baseline", "privileged"}
# What a value must be one of, by the last keys of its place: what no schema of Kubernetes' own lists.
_ONE_OF: dict[Keys, set[str]] = {
    ("protocol",): {"TCP", "UDP", "SCTP"},
    ("policyTypes",): {"Ingress", "Egress"},
    ("strategy", "type"): {"RollingUpdate", "Recreate"},
    ("seccompProfile", "type"): {"RuntimeDefault", "Unconfined", "Localhost"},
    ("whenUnsatisfiable",): {"ScheduleAnyway", "DoNotSchedule"},
    ("unhealthyPodEvictionPolicy",): {"AlwaysAllow", "IfHealthyBudget"},
    ("restartPolicy",): {"Always", "OnFailure", "Never"},
    ("imagePullPolicy",): {"Always", "IfNotPresent", "Never"},
    ("spec", "type"): {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"},
    ("metrics", "type"): {"Resource", "ContainerResource", "Pods", "Object", "External"},
    ("target", "type"): {"Utilization", "AverageValue", "Value"},
    ("policies", "type"): {"Pods", "Percent"},
    ("selectPolicy",): {"Max", "Min", "Disabled"},
    ("metrics", "resource", "name"): {"cpu", "memory"},
    ("scaleMetric",): {"cpu", "memory", "concurrency", "rps"},
    ("autoscaling.knative.dev/metric",): {"cpu", "memory", "concurrency", "rps"},
    ("serving.kserve.io/deploymentMode",): {"RawDeployment", "Serverless", "ModelMesh", "Standard", "Knative"},
    **{(f"pod-security.kubernetes.io/{mode}",): _MODES for mode in ("enforce", "audit", "warn")},
    ("podTemplateHashValue",): {"Latest", "Stable"},
    ("httpGet", "scheme"): {"HTTP", "HTTPS"},
    ("accessModes",): {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"},
    **{(name,): _CAPABILITIES for name in ("drop", "cap_drop", "cap_add")},
    ("capabilities", "add"): _CAPABILITIES,
    ("datasources", "access"): {"proxy", "direct"},
    ("providers", "type"): {"file"},
}
# What a value is nearly, it is a misspelling of: others may stand there.
_LIKE: dict[Keys, set[str]] = {
    ("topologyKey",): LABELS,
    ("jobLabel",): LABELS,
    ("podTargetLabels",): {"rollouts-pod-template-hash"},
    ("app.kubernetes.io/managed-by",): {"ekiben"},
    ("app.kubernetes.io/component",): {"server", "explainer"},
    ("kubernetes.io/metadata.name",): {"kube-system"},
    ("containers", "name"): {"service", "kserve-container", "explainer"},
    ("ports", "name"): {"http", "http1"},
    ("httpGet", "path"): ENDPOINTS,
    ("endpoints", "path"): ENDPOINTS,
    ("pods", "metric", "name"): {monitoring.PER_SECOND},
    ("name", "as"): {monitoring.PER_SECOND},
    ("fieldSpecs", "path"): {f"spec/{to}/volumes/configMap/name" for to in ("predictor", "template/spec")},
    ("fieldSpecs", "kind"): {"InferenceService", "Service"},
    ("nameReference", "kind"): {"ConfigMap", "Secret"},
    ("severity",): {"page", "ticket"},
    ("security_opt",): {"no-new-privileges:true"},
    ("network_mode",): {"none", "host", "bridge"},
    ("test",): {"CMD", "CMD-SHELL", "NONE", "python", "python3", "pg_isready", "-c"},
    ("entrypoint",): {"python", "python3", "-c"},
    ("user",): {"postgres", "1034:1034", "0:0"},
    ("tmpfs",): {"/tmp", "/var/run/postgresql"},
    ("image",): {"prom/prometheus", "grafana/grafana", "postgres"},
    ("fieldSpecs", "group"): {"serving.kserve.io", "serving.knative.dev"},
    ("nameReference", "version"): {"v1"},
    ("credentials", "key"): {"token"},
    ("authorization", "type"): {"Bearer"},
    ("datasources", "type"): {"prometheus"},
    ("volumes", "target"): {
        *("/prometheus", "/var/lib/grafana", "/var/lib/postgresql/data"),
        *(f"/etc/grafana/provisioning/{kind}/ekiben.yml" for kind in ("datasources", "dashboards")),
    },
}
_TAGGED = {("tmpfs",), ("image",)}  # of which a colon begins what is not compared
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|[MGTPE]|[KMGTPE]i)?")
_TIME = re.compile(r"(\d+(us|ms|[smhdwy]))+")
_OPTION = r"((size|mode|uid|gid)=[\w%]+|rw|ro|(no)?(exec|suid|dev))"
_BYTES = re.compile(r"\d+(\.\d+)?(b|[kmg]b?)")
_AMOUNTS = [(of, what) for of in ("requests", "limits") for what in ("cpu", "memory", "storage", "ephemeral-storage")]
_TIMES = (
    "interval scrapeTimeout for initialDelay scrape_interval evaluation_interval "
    "stop_grace_period timeout start_period start_interval"
)
_FORMS: dict[Keys, tuple[re.Pattern[str], str]] = {
    **dict.fromkeys([*_AMOUNTS, ("sizeLimit",), ("averageValue",)], (_QUANTITY, "a quantity, such as 500m or 256Mi")),
    **dict.fromkeys(
        [("pause", "duration"), *((name,) for name in _TIMES.split())], (_TIME, "a time with its unit, such as 15s")
    ),
    **dict.fromkeys([("mem_limit",), ("shm_size",)], (_BYTES, "a size with its unit, such as 512m")),
    ("restart",): (
        re.compile(r"no|always|on-failure(:\d+)?|unless-stopped"),
        "one of always, no, on-failure, unless-stopped",
    ),
    ("ports",): (
        re.compile(r"((\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):)?(\d*(-\d+)?:)?\d{1,5}(-\d+)?(/(tcp|udp|sctp))?"),
        "[address:][port:]port",
    ),
    ("tmpfs",): (re.compile(rf"/[\w./-]*(:{_OPTION}(,{_OPTION})*)?"), "a path, perhaps with options"),
    ("address",): (re.compile(r"https?://[\w.-]+(:\d+)?(/\S*)?"), "an address"),
    **dict.fromkeys(
        [(f"autoscaling.knative.dev/{name}",) for name in ("min-scale", "max-scale", "target")],
        (re.compile(r"\d+(\.\d+)?"), "a number"),
    ),
    ("image",): (
        re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"),
        "the name of an image",
    ),
    ("user",): (re.compile(r"\d+(:\d+)?|[a-z_][a-z0-9_-]*"), "a user, as name or number"),
    **dict.fromkeys(
        [("maxUnavailable",), ("maxSurge",), ("minAvailable",)],
        (re.compile(r"\d{1,3}%"), "a number of pods, or per cent of them, such as 25%"),
    ),
    **dict.fromkeys(
        [("read_only",), ("privileged",), ("init",), ("internal",)], (re.compile("true|false"), "true or false")
    ),
}
# The least and the most that a cluster takes, which its schemas do not say.
_RANGES: dict[str, tuple[int, float]] = {
    **dict.fromkeys(("failureThreshold", "successThreshold", "periodSeconds", "timeoutSeconds"), (1, inf)),
    **dict.fromkeys(("maxReplicas", "averageUtilization", "progressDeadlineSeconds", "maxSkew"), (1, inf)),
    **dict.fromkeys(("replicas", "minReplicas", "maxUnavailable", "maxSurge", "minAvailable"), (0, inf)),
    **dict.fromkeys(("initialDelaySeconds", "terminationGracePeriodSeconds", "revisionHistoryLimit"), (0, inf)),
    **dict.fromkeys(("setWeight", "canaryTrafficPercent"), (0, 100)),
    "stabilizationWindowSeconds": (0, 3600),
}
_NUMBERS = {"BENTOML_PORT", "PORT", "EKIBEN_DRAIN_S"}
_SWITCHES = {"GF_ANALYTICS_REPORTING_ENABLED", "GF_ANALYTICS_CHECK_FOR_UPDATES"}
_QUERIES = {"expr", "query", "metricsQuery", "seriesQuery", "successCondition", "summary", "legendFormat"}
# What a query of Prometheus, or a condition of Argo, may call beside what ours do.
_CALLED = frozenset(
    [
        "abs",
        "absent",
        "absent_over_time",
        "and",
        "asFloat",
        "asInt",
        "avg",
        "avg_over_time",
        "bool",
        "bottomk",
        "by",
        "ceil",
        "changes",
        "clamp",
        "clamp_max",
        "clamp_min",
        "count",
        "count_over_time",
        "count_values",
        "default",
        "delta",
        "deriv",
        "exp",
        "filter",
        "floor",
        "group",
        "group_left",
        "group_right",
        "histogram_count",
        "histogram_quantile",
        "histogram_sum",
        "hour",
        "idelta",
        "ignoring",
        "increase",
        "irate",
        "isInf",
        "isNaN",
        "label_join",
        "label_replace",
        "last_over_time",
        "len",
        "ln",
        "log10",
        "log2",
        "map",
        "max",
        "max_over_time",
        "min",
        "min_over_time",
        "minute",
        "none",
        "offset",
        "on",
        "or",
        "predict_linear",
        "present_over_time",
        "quantile",
        "quantile_over_time",
        "rate",
        "resets",
        "round",
        "scalar",
        "sgn",
        "sort",
        "sort_desc",
        "sqrt",
        "stddev",
        "stddev_over_time",
        "sum",
        "sum_over_time",
        "time",
        "timestamp",
        "topk",
        "unless",
        "vector",
        "without",
    ]
)
_WORD = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z]\w*)*")
_NAMED = re.compile(r'\b(job|namespace|pod|instance)\s*=~?\s*"[^"]*"')
_CLOSE = 0.82  # how alike two names are of which one is taken for the other's misspelling
_LONGEST = max(map(len, (*_ONE_OF, *_LIKE, *_FORMS)))


def faults(document: Any) -> Iterator[str]:
    """Tell which values of a document are misspelt.

    >>> list(faults({"spec": {"policyTypes": ["Ingres"], "limits": {"memory": "512MI"}}}))[0]
    "spec.policyTypes.0 must be one of Egress, Ingress. Got 'Ingres'"
    """
    is_composed = isinstance(document, Mapping) and isinstance(document.get("services"), Mapping)
    for path, keys, value in scalars(document):
        if "${" in value:  # a variable of who runs it stands for it
            continue
        where = ".".join(map(str, path))
        for ends in (keys[-n:] for n in range(1, _LONGEST + 1)):
            if ends in _ONE_OF and (value.upper() if is_composed else value) not in _ONE_OF[ends]:
                yield f"{where} must be one of {', '.join(sorted(_ONE_OF[ends]))}. Got {value!r}"
            if ends in _FORMS and not _FORMS[ends][0].fullmatch(value):
                yield f"{where} must be {_FORMS[ends][1]}. Got {value!r}"
            if ends in _LIKE and (told := value.partition(":")[0] if ends in _TAGGED else value) not in _LIKE[ends]:
                yield from nearly(where, told, _LIKE[ends])
        if keys[-1] in _QUERIES:
            yield from _of_words(where, value, is_text=keys[-1] in ("summary", "legendFormat"))
        if keys[-1] in ("test", "entrypoint") and " " in value:
            yield from _of_code(where, value)
    yield from _of_variables(document)
    yield from _of_numbers(document)


def nearly(where: str, name: str, known: Iterable[str]) -> Iterator[str]:
    """Tell that a name is nearly one that is known.

    >>> list(nearly("spec.path", "/readzy", ["/livez", "/readyz"]))
    ["spec.path must be spelt '/readyz'"]
    """
    others, told = {each.lower(): each for each in sorted(known)}, name.lower()
    alike = min(_CLOSE, max(0.5, 1 - 1 / len(told))) if told else _CLOSE  # of four letters, one may be another
    close = [each for each in others if sorted(each) == sorted(told)] or get_close_matches(told, [*others], 1, alike)
    if close:
        yield f"{where} must be spelt {others[close[0]]!r}"


def scalars(part: Any, path: tuple[Any, ...] = (), keys: Keys = ()) -> Iterator[tuple[tuple[Any, ...], Keys, str]]:
    """Give each text of a document, with the way to it, and its keys without numbers of items."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            yield from scalars(value, (*path, key), (*keys, str(key)))
    elif isinstance(part, list | tuple):
        for i, value in enumerate(part):
            yield from scalars(value, (*path, i), keys)
    elif isinstance(part, str) and keys:
        yield path, keys, str(part)


def listed(part: Any, key: str) -> list[Mapping[str, Any]]:
    """Give the mappings of a list."""
    told = part.get(key) if isinstance(part, Mapping) else None
    return [each for each in told if isinstance(each, Mapping)] if isinstance(told, list) else []


def texts(part: Any, key: str) -> list[str]:
    """Give the texts of a list."""
    told = part.get(key) if isinstance(part, Mapping) else None
    return [each for each in told if isinstance(each, str)] if isinstance(told, list) else []


def variables(document: Any) -> Iterator[tuple[str, str, str]]:
    """Give each variable of an environment, with its place, name and value."""
    if isinstance(document, Mapping):
        given = document.get("environment")
        if isinstance(given, Mapping):
            yield from ((f"environment.{name}", str(name), str(value)) for name, value in given.items())
        for each in document.get("env") or () if isinstance(document.get("env"), list) else ():
            if isinstance(each, Mapping) and "value" in each:
                yield f"env {each.get('name')}", str(each.get("name")), str(each["value"])
        for value in document.values():
            yield from variables(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from variables(value)


def is_place(name: str) -> bool:
    """Tell a variable of ours that names a file or folder.

    >>> is_place("EKIBEN_KEYS_FILE"), is_place("SSL_CERT_FILE")
    (True, False)
    """
    return name == "HOME" or bool(re.fullmatch(r"(EKIBEN|BENTOML|POSTGRES|GF)_\w*(FILE|HOME|TICKETS)", name))


def _of_numbers(part: Any, path: str = "", key: str = "") -> Iterator[str]:
    if isinstance(part, Mapping):
        for name, value in part.items():
            yield from _of_numbers(value, f"{path}.{name}" if path else str(name), str(name))
    elif isinstance(part, list | tuple):
        for i, value in enumerate(part):
            yield from _of_numbers(value, f"{path}.{i}")
    elif key in _RANGES and isinstance(part, int | float):
        least, most = _RANGES[key]
        if not least <= part <= most:
            yield f"{path} must be {least} at least{'' if most == inf else f', and {most} at most'}. Got {part}"


def _of_variables(document: Any) -> Iterator[str]:
    for where, name, value in variables(document):
        if name in _NUMBERS and not re.fullmatch(r"\d+(\.\d+)?", value):
            yield f"{where} must be a number. Got {value!r}"
        if is_place(name) and not value.startswith("/"):
            yield f"{where} must be a path from the root. Got {value!r}"
        if name in _SWITCHES and value not in ("true", "false"):
            yield f"{where} must be true or false. Got {value!r}"


# ── queries and programs ──


@cache
def _known() -> frozenset[str]:
    """Collect the words of every query that we write, and those that they may be made of."""
    texts = [
        monitoring.text(monitoring.ALERTS),
        monitoring.text(monitoring.DASHBOARD),
        json.dumps(monitoring.adapter_rule()),
    ]
    words = {
        *("len", "isNaN", "isInf", "result", "args.hash", "default", "job", "namespace", "pod", "instance"),
        *(
            "rollouts_pod_template_hash",
            "Series",
            "LabelMatchers",
            "GroupBy",
            "asInt",
            "asFloat",
            "all",
            "any",
            "not_recorded",
        ),
    }
    return frozenset(words.union(*(_WORD.findall(text) for text in texts)))


def _of_words(where: str, text: str, *, is_text: bool) -> Iterator[str]:
    """Tell the words of a query that are nearly one that we know; of a text for persons those of its variables alone."""
    # how a service is called is its own affair, though it be nearly a word of a query
    parts = re.findall(r"\{\{(.*?)\}\}", text) if is_text else [_NAMED.sub(r"\1", text)]
    if not is_text:
        is_open = any(text.count(one) != text.count(other) for one, other in ("()", "[]", "{}"))
        if is_open or re.search("[<>=!]==", text):
            yield f"{where} must be a query. Got one that does not close what it opens, or doubles a sign"
        called = {*re.findall(r"([A-Za-z_]\w*)\s*\(", re.sub(r'"[^"]*"', "", text))}
        yield from (
            f"{where} must call what a query knows. Got {name!r}" for name in sorted(called - _known() - _CALLED)
        )
    for part in parts:
        for word in _WORD.findall(part):
            if word not in _known() and len(word) > 1:
                yield from nearly(where, word, _known())


def _of_code(where: str, text: str) -> Iterator[str]:
    """Tell a program that does not read, or asks at a path that the service does not have."""
    try:
        ast.parse(text)
    except SyntaxError as reason:
        yield f"{where} must be a program of Python. It is not: {reason.msg}"
    for path in re.findall(r"https?://[^/'\"]+(/\w[\w/]*)", text):
        if path not in ENDPOINTS:
            yield from nearly(where, path, ENDPOINTS)
