"""One machine: the service, Prometheus and a dashboard of Grafana, and Postgres where the records go there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ekiben import keys
from ekiben.deploying import monitoring, pods
from ekiben.deploying.sites import PORT, TMP_MB, USER, Site
from ekiben.deploying.yamls import Why, dumps
from ekiben.explaining import wishes
from ekiben.spec.writing import route_text

POSTGRES, PROMETHEUS, GRAFANA = "postgres:17.6", "prom/prometheus:v3.5.0", "grafana/grafana:12.1.1"
SECRETS = "secrets"
IGNORED = "# What only this machine may know.\nsecrets/\n"
MOUNTED = "/run/secrets"


def written(site: Site) -> Iterator[tuple[str, str]]:
    """Give each file but the secrets."""
    yield "compose.yaml", dumps(composed(site), head=f"{site.spec.name} on one machine: docker compose up --wait")
    for each, place in _places(site):
        yield place.route, _ROUTE_HEAD + route_text(each.spec)
    yield "prometheus.yml", dumps(scraping(site), head="What Prometheus asks, and how often.")
    yield monitoring.ALERTS, monitoring.text(monitoring.ALERTS)
    yield "grafana-sources.yml", dumps(_SOURCES)
    yield "grafana-boards.yml", dumps(_BOARDS)
    yield monitoring.DASHBOARD, monitoring.text(monitoring.DASHBOARD)
    yield ".gitignore", IGNORED


class _Place(NamedTuple):
    """Where one of the services is on the machine: its port, its volume, and the file of its route."""

    port: int
    kept: str
    route: str


OWN, EXPLAINERS = _Place(PORT, "kept", pods.ROUTE_FILE), _Place(3002, "explainer", f"explainer-{pods.ROUTE_FILE}")


def _places(site: Site) -> list[tuple[Site, _Place]]:
    """Give the service, and the one that explains where there is one, each with its place."""
    return [(site, OWN), *([(site.explainer, EXPLAINERS)] if site.explainer else [])]


def _are_shipped(site: Site) -> bool:
    """Tell whether the records of any of them go into the database."""
    return any(each.is_shipped for each, _ in _places(site))


_ROUTE_HEAD = "# Which arm answers how often. After a change: docker compose up --force-recreate --wait\n"
_SOURCES = {
    "apiVersion": 1,
    "datasources": [
        {
            "name": "Prometheus",
            "type": "prometheus",
            "access": "proxy",
            "url": "http://prometheus:9090",
            "isDefault": True,
        }
    ],
}
_BOARDS = {
    "apiVersion": 1,
    "providers": [{"name": "ekiben", "type": "file", "options": {"path": "/etc/grafana/dashboards"}}],
}


def composed(site: Site) -> dict[str, Any]:
    """Describe the services of one machine."""
    services = {
        "owner": _owner(site),
        **{each.name: _service(each, place) for each, place in _places(site)},
        "prometheus": _prometheus(site),
        "grafana": _grafana(),
    }
    if _are_shipped(site):
        services["postgres"] = _postgres()
    held: dict[str, Any] = {place.kept: {} for _, place in _places(site)} | {"metrics": {}, "boards": {}}
    held |= {"decisions": {}} if _are_shipped(site) else {}
    return {
        "name": site.name,
        "services": services,
        "volumes": held,
        "networks": {
            "asked": {},
            Why("inner", "nothing in it reaches out, and only the service and Grafana are reached"): {"internal": True},
        },
        Why("secrets", "made when these files were written; they are not for the repository"): {
            name: {"file": f"./{SECRETS}/{name}"} for name in _names(site)
        },
    }


def _names(site: Site) -> list[str]:
    found = ["grafana_password"]
    found += ["keys.toml", "metrics_token"] if site.keys else []
    return found + (["postgres_password", "records_dsn"] if _are_shipped(site) else [])


def _hardened() -> dict[str, Any]:
    return {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
    }


def _bound(source: str, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": f"./{source}", "target": target, "read_only": True}


def _volume(source: str, target: str) -> dict[str, Any]:
    return {"type": "volume", "source": source, "target": target}


def _owner(site: Site) -> dict[str, Any]:
    held = [place.kept for _, place in _places(site)]
    program = f"import os; [os.chown('/owned/' + name, {USER}, {USER}) for name in {held}]"
    return {
        "image": site.image,
        Why("user", "runs once and ends: a new volume is root's, and the service is not"): "0:0",
        **_hardened(),
        "restart": "no",
        "cap_add": ["CHOWN"],
        "network_mode": "none",
        "entrypoint": ["python", "-c", program],
        "volumes": [_volume(name, f"/owned/{name}") for name in held],
    }


def _service(site: Site, place: _Place) -> dict[str, Any]:
    told = pods.environment(site) | {"EKIBEN_ROUTE_FILE": f"{pods.ROUTE}/{pods.ROUTE_FILE}", "EKIBEN_DRAIN_S": "0"}
    if site.explainer:
        key = Why(
            wishes.ELSEWHERE, "told to callers who ask for a method that is explained there; nothing is forwarded"
        )
        told[key] = f"http://127.0.0.1:{EXPLAINERS.port}"
    wanted = []
    if site.keys:
        told["EKIBEN_KEYS_FILE"] = f"{MOUNTED}/keys.toml"
        wanted.append("keys.toml")
    if site.is_shipped:
        told["EKIBEN_RECORDS_DSN_FILE"] = f"{MOUNTED}/records_dsn"
        wanted.append("records_dsn")
    limits = site.resources()["limits"]
    asks = (
        f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/readyz', timeout=2)"  # no shell in the image
    )
    made: dict[str, Any] = {
        "image": site.image,
        "user": f"{USER}:{USER}",
        **_hardened(),
        "environment": told,
        Why("ports", "on this machine alone; what others ask is a gateway's"): [f"127.0.0.1:{place.port}:{PORT}"],
        "networks": ["asked", "inner"],
        Why("tmpfs", "all that may be written, but for what is kept"): [f"/tmp:size={TMP_MB}m,mode=1777"],
        "volumes": [_volume(place.kept, pods.KEPT), _bound(place.route, told["EKIBEN_ROUTE_FILE"])],
        "mem_limit": limits["memory"].replace("Mi", "m"),
        Why("cpus", "no more than this machine has: docker refuses more"): float(
            min(int(limits["cpu"]), _processors())
        ),
        "pids_limit": 512,
        "stop_grace_period": f"{site.grace_s}s",
        "healthcheck": {
            "test": ["CMD", "python", "-c", asks],
            "interval": "10s",
            "timeout": "3s",
            "start_period": "120s",
            "start_interval": "1s",
        },
    }
    if wanted:
        made["secrets"] = wanted
    made["depends_on"] = {"owner": {"condition": "service_completed_successfully"}}
    if site.is_shipped:
        made["depends_on"]["postgres"] = {"condition": "service_healthy"}
    return made


def _processors() -> int:
    return os.cpu_count() or 1


def _postgres() -> dict[str, Any]:
    return {
        "image": POSTGRES,
        "user": "postgres",
        **_hardened(),
        "environment": {
            "POSTGRES_DB": "decisions",
            "POSTGRES_USER": "ekiben",
            "POSTGRES_PASSWORD_FILE": f"{MOUNTED}/postgres_password",
        },
        "networks": ["inner"],
        "tmpfs": ["/tmp", "/var/run/postgresql:mode=1777"],
        "volumes": [_volume("decisions", "/var/lib/postgresql/data")],
        "secrets": ["postgres_password"],
        "shm_size": "128m",
        "healthcheck": {
            "test": ["CMD", "pg_isready", "--username=ekiben", "--dbname=decisions"],
            "interval": "5s",
            "timeout": "3s",
            "start_period": "60s",
            "start_interval": "1s",
        },
    }


def _prometheus(site: Site) -> dict[str, Any]:
    made: dict[str, Any] = {
        "image": PROMETHEUS,
        **_hardened(),
        "networks": ["inner"],
        "volumes": [
            _volume("metrics", "/prometheus"),
            _bound("prometheus.yml", "/etc/prometheus/prometheus.yml"),
            _bound(monitoring.ALERTS, f"/etc/prometheus/{monitoring.ALERTS}"),
        ],
        "depends_on": {each.name: {"condition": "service_healthy"} for each, _ in _places(site)},
    }
    return made | ({"secrets": ["metrics_token"]} if site.keys else {})


def _grafana() -> dict[str, Any]:
    held = "/etc/grafana/provisioning"
    return {
        "image": GRAFANA,
        **_hardened(),
        "environment": {
            "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{MOUNTED}/grafana_password",
            Why("GF_ANALYTICS_REPORTING_ENABLED", "it tells nobody anything"): "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        },
        "ports": ["127.0.0.1:3001:3000"],
        "networks": ["asked", "inner"],
        "tmpfs": ["/tmp"],
        "volumes": [
            _volume("boards", "/var/lib/grafana"),
            _bound("grafana-sources.yml", f"{held}/datasources/ekiben.yml"),
            _bound("grafana-boards.yml", f"{held}/dashboards/ekiben.yml"),
            _bound(monitoring.DASHBOARD, f"/etc/grafana/dashboards/{monitoring.DASHBOARD}"),
        ],
        "secrets": ["grafana_password"],
        "depends_on": {"prometheus": {"condition": "service_started"}},
    }


def scraping(site: Site) -> dict[str, Any]:
    """Describe to Prometheus what to ask."""
    return {
        "global": {"scrape_interval": monitoring.EVERY, "evaluation_interval": monitoring.EVERY},
        "rule_files": [f"/etc/prometheus/{monitoring.ALERTS}"],
        "scrape_configs": [_job(each) for each, _ in _places(site)],
    }


def _job(site: Site) -> dict[str, Any]:
    job: dict[str, Any] = {"job_name": site.name, "static_configs": [{"targets": [f"{site.name}:{PORT}"]}]}
    if site.keys:
        key = Why("authorization", "a key of the scope `read`, made for this")
        job[key] = {"type": "Bearer", "credentials_file": f"{MOUNTED}/metrics_token"}
    return job


def make_secrets(site: Site, folder: Path) -> list[str]:
    """Make the secrets that are not there yet, and name them; those that are there stay as they are.

    The files can be read by all, since the users in the containers are nobody here; their folder by its owner alone.
    """
    place = folder / SECRETS
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = [name for name in _names(site) if not (place / name).exists()]
    for name, text in _made(made, place).items():
        part = place / f"{name}.part"
        part.unlink(missing_ok=True)  # of a run that ended here nobody may write on
        part.write_text(text, encoding="utf-8")
        part.chmod(0o444)
        part.replace(place / name)  # in one step: keys that are there are not lost on a full disk
    return made


def _made(names: list[str], place: Path) -> Mapping[str, str]:
    """Make the texts of new secrets; two of them belong together, twice."""
    found: dict[str, str] = {}
    if "grafana_password" in names:
        found["grafana_password"] = secrets.token_urlsafe(24)
    if "keys.toml" in names or "metrics_token" in names:
        known = "" if "keys.toml" in names else f"{(place / 'keys.toml').read_text(encoding='utf-8')}\n"
        is_taken = "[keys.prometheus]" in known  # its token alone was lost
        token, lines = keys.make(f"prometheus-{secrets.token_hex(4)}" if is_taken else "prometheus", ["read"])
        found["keys.toml"] = known + lines
        found["metrics_token"] = token  # behind its key: a token that nobody knows would stay
    if "postgres_password" in names or "records_dsn" in names:
        there = place / "postgres_password"
        password = secrets.token_urlsafe(24) if "postgres_password" in names else there.read_text(encoding="utf-8")
        found |= {} if there.exists() else {"postgres_password": password}
        found["records_dsn"] = f"postgresql://ekiben:{password}@postgres:5432/decisions"
    return found
