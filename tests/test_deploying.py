"""Manifests: what is written, that a cluster would take it, and that no key can be misspelt unseen."""

import copy
import os
import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import given, settings

import kubectl
import prometheus
from ekiben import deploying, spec
from ekiben.checks import Load, Report
from ekiben.deploying import agreeing, compose, sites, validating, yamls
from ekiben.errors import MissingExtraError, NotFoundError, SpecError
from ekiben.metering import meter
from ekiben.spec.writing import dumps

TARGETS = ("kubernetes", "kserve", "knative", "compose")
IMAGE = "registry.example.com/team/credit-risk:1.2.0"
TEXT = """
format = 1
name = "credit_risk"
unit = "customer_id"
timeout_s = 20
workers = 2
[arms]
champion = "models:/credit_risk/1"
challenger = "models:/credit_risk/2"
[route]
weights = { champion = 0.8, challenger = 0.2 }
[records]
to = "postgres"
keep_mb = 200
"""
RENDERED = ("kubernetes/base", "kubernetes/overlays/staging", "kubernetes/overlays/production", "kserve", "knative")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A folder of which manifests read the spec alone."""
    folder = tmp_path_factory.mktemp("services") / "credit_risk"
    folder.mkdir()
    (folder / "ekiben.toml").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def written(service, tmp_path_factory):
    """Every target, with all that a service may want."""
    out = tmp_path_factory.mktemp("manifests")
    for target in TARGETS:
        deploying.manifests(service, target=target, image=IMAGE, out=out / target, callers=("shop",))
    return out


def documents(path):
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def one(path):
    (document,) = documents(path)
    return document


def pod_of(path):
    return one(path)["spec"]["template"]["spec"]


# ── YAML

letters = st.text(st.characters(exclude_categories=("Cs",))) | st.text("ab \n-#:'\"", max_size=9)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | letters,
    lambda inner: st.lists(inner) | st.dictionaries(letters, inner),
    max_leaves=20,
)


@given(st.dictionaries(letters, values, min_size=1))
def test_what_is_written_is_read_back(document):
    assert yamls.loads(yamls.dumps(document, head="why"), source="a file") == [document]


def test_a_key_that_comes_twice_is_refused():
    with pytest.raises(SpecError, match=r"deployment\.yaml must be YAML\. In line 2: 'kind' comes twice\."):
        yamls.loads("kind: A\nkind: B\n", source="deployment.yaml")


def test_text_that_is_no_yaml_is_refused():
    with pytest.raises(SpecError, match="a file must be YAML"):
        yamls.loads("{", source="a file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [*a]\n", "must hold at most 1,000,000 values"),
        (
            "a: &a [x, x, x, x, x, x, x, x]\n"
            + "".join(f"b{i}: &{'abcdefgh'[i]} [{', '.join(['*' + 'aabcdefg'[i]] * 8)}]\n" for i in range(1, 8)),
            "must hold at most 1,000,000 values",
        ),
        ("a: " + "[" * 3000 + "]" * 3000, "must be YAML that is not nested so deep"),
        ("? [a, b]\n: c\n", "In line 1: a key must be a text."),
    ],
    ids=["in itself", "in many", "deep", "a list as a key"],
)
def test_text_that_is_yaml_and_no_manifest_is_refused(text, says):
    with pytest.raises(SpecError, match=f"a.yaml {says}|a.yaml must be YAML. {says}"):
        yamls.loads(text, source="a.yaml")


# ── what is written


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_service_gives_the_same_bytes(service, written, target, tmp_path):
    again = deploying.manifests(service, target=target, image=IMAGE, out=tmp_path, callers=("shop",))
    files = [path for path in again.rglob("*") if path.is_file() and path.parent.name != compose.SECRETS]
    assert len(files) > 3
    for path in files:
        assert path.read_bytes() == (written / target / path.relative_to(again)).read_bytes()


@pytest.mark.parametrize(
    "path", ["kubernetes/base/deployment.yaml", "kserve/inferenceservice.yaml", "knative/service.yaml"]
)
def test_a_container_may_do_nothing_but_answer(written, path):
    told = one(written / path)["spec"]
    pod = told["predictor"] if "predictor" in told else told["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": 1034,
        "runAsNonRoot": True,
        "runAsUser": 1034,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys() & container["resources"]["limits"].keys()


def test_a_pod_drains_before_it_is_ended(written):
    pod = pod_of(written / "kubernetes/base/deployment.yaml")
    (container,) = pod["containers"]
    told = {each["name"]: each.get("value") for each in container["env"]}
    ready = container["readinessProbe"]
    assert float(told["EKIBEN_DRAIN_S"]) > ready["periodSeconds"] * ready["failureThreshold"]
    assert pod["terminationGracePeriodSeconds"] > float(told["EKIBEN_DRAIN_S"]) + 20  # timeout_s


def test_secrets_are_named_and_never_written(written):
    pod = pod_of(written / "kubernetes/base/deployment.yaml")
    named = {each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
    assert named == {"credit-risk-keys", "credit-risk-records"}
    kinds = {each.get("kind") for path in written.rglob("*.yaml") for each in documents(path)}
    assert "Secret" not in kinds
    head = (written / "kubernetes/base/kustomization.yaml").read_text()
    assert all(f"kubectl create secret generic {name}" in head for name in named)


def test_the_route_is_the_spec_s(written, service):
    told = (written / "kubernetes/base/route.toml").read_text()
    described = spec.read(service)
    assert spec.rerouted(described, told, source="route.toml") == described


def test_a_service_reaches_postgres_and_nothing_else(written, service, tmp_path):
    (names, database) = one(written / "kubernetes/base/networkpolicy.yaml")["spec"]["egress"]
    assert [each["port"] for each in names["ports"]] == [53, 53]
    assert database["ports"] == [{"protocol": "TCP", "port": 5432}]
    (tmp_path / "ekiben.toml").write_text(TEXT.replace('to = "postgres"', 'to = "off"'))
    out = deploying.manifests(tmp_path, image=IMAGE)
    assert out == tmp_path / "deploy" / "kubernetes"
    assert one(out / "base/networkpolicy.yaml")["spec"]["egress"] == []


def test_callers_of_other_namespaces_are_named(written):
    (rule,) = one(written / "kubernetes/base/networkpolicy.yaml")["spec"]["ingress"]
    spaces = [each["namespaceSelector"]["matchLabels"] for each in rule["from"] if "namespaceSelector" in each]
    assert [each["kubernetes.io/metadata.name"] for each in spaces] == ["shop", "monitoring"]


def test_a_new_version_begins_with_the_share_of_the_smallest_arm(written):
    steps = one(written / "kubernetes/components/rollout/rollout.yaml")["spec"]["strategy"]["canary"]["steps"]
    assert [each["setWeight"] for each in steps if "setWeight" in each] == [20, 25, 50]


def test_a_pod_asks_for_what_was_measured(service, tmp_path):
    measured = Load(p50_ms=1.0, p99_ms=2.0, cpu_ms=4.0, memory_mb=410.0)
    report = Report(subject="credit_risk", findings=(), load=measured)
    out = deploying.manifests(service, image=IMAGE, report=report, out=tmp_path)
    (container,) = pod_of(out / "base/deployment.yaml")["containers"]
    asked = int(container["resources"]["requests"]["memory"].removesuffix("Mi"))
    assert 410e6 * 1.25 <= asked * 2**20 < 410e6 * 1.25 + 64 * 2**20
    target = one(out / "components/monitoring/hpa.yaml")["spec"]["metrics"][1]["pods"]["target"]
    assert target["averageValue"] == "250"  # half of what two workers answer at 4 ms each
    assert "as measured" in (out / "base/deployment.yaml").read_text()


def test_an_explaining_process_is_ended_before_its_pod(service, written):
    (container,) = pod_of(written / "kubernetes/base/deployment.yaml")["containers"]
    asked, most = (
        int(container["resources"][each]["memory"].removesuffix("Mi")) * 2**20 for each in ("requests", "limits")
    )
    explain, workers = spec.read(service).explain, 2
    assert most - asked > workers * explain.processes * explain.memory_mb * 1e6


def test_records_may_go_to_a_volume_of_many_pods(service, tmp_path):
    out = deploying.manifests(service, image=IMAGE, claim="records", out=tmp_path)
    pod = pod_of(out / "base/deployment.yaml")
    assert {"name": "kept", "persistentVolumeClaim": {"claimName": "records"}} in pod["volumes"]
    assert {"name": "kept", "mountPath": "/var/lib/ekiben", "subPathExpr": "$(POD_NAME)"} in pod["containers"][0][
        "volumeMounts"
    ]


def test_a_service_without_keys_needs_none(service, tmp_path):
    out = deploying.manifests(service, image=IMAGE, keys=False, out=tmp_path)
    assert "EKIBEN_KEYS_FILE" not in (out / "base/deployment.yaml").read_text()
    assert "authorization" not in (out / "components/monitoring/servicemonitor.yaml").read_text()


# ── what is refused


@pytest.mark.parametrize("name", ["credit-risk2", "credit-risks", "credit", "redit-risk", "x", "db"])
@pytest.mark.parametrize("target", TARGETS)
def test_an_image_may_be_called_nearly_as_its_service_is(service, tmp_path, target, name):
    for at, image in enumerate((f"registry.example.com/risk/{name}:1", f"{name}:1")):
        folder = deploying.manifests(service, target=target, image=image, out=tmp_path / str(at))
        assert deploying.validate(folder) > 0


def test_two_letters_of_an_image_that_changed_places_are_told(service, tmp_path):
    with pytest.raises(SpecError, match=r"containers\.0\.image must be spelt 'credit-risk'"):
        deploying.manifests(service, target="kserve", image="registry.example.com/credti-risk:1", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"image": "churn"}, "The 'image' must name a tag that stays, or a digest"),
        ({"image": "churn:latest"}, "Got 'churn:latest'"),
        ({"image": "Churn:1"}, "Got 'Churn:1'"),
        ({"target": "kubernets"}, "Did you mean 'kubernetes'?"),
        ({"replicas": 2}, "The 'replicas' must be the fewest and the most, such as (2, 10). Got 2."),
        ({"replicas": (3,)}, "The 'replicas' must be the fewest and the most, such as (2, 10). Got (3,)."),
        ({"replicas": (3, 2)}, "The 'replicas' must be the fewest and the most"),
        ({"ramp": (50, 10)}, "The 'ramp' must rise"),
        ({"components": ("monitorin",)}, "Did you mean 'monitoring'?"),
        ({"callers": ("Shop",)}, "The 'callers' must be names of namespaces"),
        ({"claim": "a/b"}, "The 'claim' must be the name of a claim"),
        ({"claim": "records", "target": "knative"}, 'send the records to Postgres: [records] to = "postgres"'),
    ],
)
def test_what_cannot_be_is_refused(service, tmp_path, given, says):
    with pytest.raises(SpecError) as refused:
        deploying.manifests(service, **{"image": IMAGE, "out": tmp_path / "out", **given})
    assert says in str(refused.value)
    assert not (tmp_path / "out").exists()


def named(name, folder):
    (folder / name).mkdir()
    (folder / name / spec.FILE).write_text(TEXT.replace('name = "credit_risk"', f'name = "{name}"'))
    return folder / name


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["churn_prediction", "small_firms", "sums", "customer_lifetime_value_of_shops"])
def test_a_service_may_be_called_nearly_as_a_word_of_a_query_and_longer_than_its_stage(tmp_path, target, name):
    deploying.manifests(named(name, tmp_path), target=target, image=IMAGE, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("target", "name", "says"),
    [
        ("compose", "prometheus", "must not be called as what stands beside it: grafana, owner, postgres, prometheus"),
        ("kubernetes", "x" * 56, "at most 55 letters"),
        ("kserve", "x" * 54, "at most 53 letters"),
        ("knative", "x" * 58, "at most 57 letters"),
    ],
)
def test_a_name_that_a_target_has_no_room_for_is_refused(tmp_path, target, name, says):
    with pytest.raises(SpecError, match=says):
        deploying.manifests(named(name, tmp_path), target=target, image=IMAGE, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["kserve", "knative"])
def test_no_gateway_gives_up_before_the_service_does(tmp_path, target):
    folder = named("churn", tmp_path)
    (folder / spec.FILE).write_text((folder / spec.FILE).read_text().replace("timeout_s = 20", "timeout_s = 30.4"))
    out = deploying.manifests(folder, target=target, image=IMAGE, out=tmp_path / "out")
    assert re.search(r"timeout(Seconds)?: 31\n", "".join(path.read_text() for path in out.glob("*service.yaml")))


def test_a_report_must_be_one_of_a_service(service, tmp_path):
    with pytest.raises(NotFoundError, match="Run: ekiben check"):
        deploying.manifests(service, image=IMAGE, report=tmp_path / "report.json")
    (tmp_path / "report.json").write_text('{"load": null}')
    with pytest.raises(SpecError, match="This one has no load"):
        deploying.manifests(service, image=IMAGE, report=tmp_path / "report.json")


def test_without_the_schemas_nothing_is_written(service, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kubernetes_validate", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ekiben\[kube\]'"):
        deploying.manifests(service, image=IMAGE, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ── what is found


def test_every_version_of_kubernetes_is_asked():
    known = validating.versions()
    assert (known[0], known[-1]) == ("1.28", "1.37")
    assert len(known) == 10


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_written_is_valid(written, target):
    assert deploying.validate(written / target) >= 3


def places(part, path=()):
    """Give the way to every key."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield (*path, key)
            yield from places(value, (*path, key))
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from places(value, (*path, i))


def misspellings(key):
    """Give the key with a letter left out, doubled, swapped with the next, and in the other case."""
    half = len(key) // 2
    found = {key[:-1], key + key[-1], key[:half] + key[half + 1 :], key[:-2] + key[-1:] + key[-2:-1], key.swapcase()}
    return sorted(found - {key, ""})


def with_key(document, path, name):
    """Give a document with another name for one key, in its place."""
    changed = copy.deepcopy(document)
    part = changed
    for step in path[:-1]:
        part = part[step]
    entries = list(part.items())
    part.clear()
    part.update((name if key == path[-1] else key, value) for key, value in entries)
    return changed


def unseen(folder, spellings):
    """Give each misspelling that nothing finds: the file, the place, and the wrong word."""
    files = validating.read(folder)
    held = {file.name: file.documents for file in files}
    for file in files:
        for i, document in enumerate(file.documents):
            for path in places(document):
                for word in spellings(path[-1]):
                    changed = [*file.documents[:i], with_key(document, path, word), *file.documents[i + 1 :]]
                    if any(validating.faults_of(file._replace(documents=changed))):
                        continue
                    if not agreeing.faults({**held, file.name: changed}, folder):
                        yield file.name, path, word


@pytest.mark.parametrize("target", TARGETS)
def test_every_key_that_is_misspelt_is_found(written, target):
    rng = random.Random(f"keys of {target}")
    assert list(unseen(written / target, lambda key: [rng.choice(misspellings(key))])) == []


# Where any word may stand: what only tells, and what is named elsewhere.
ANY_WORD = {
    *("alert", "summary", "expr", "query", "successCondition", "seriesQuery"),  # of a query, some words are free
    *(f"{of}.name" for of in ("groups", "providers", "datasources", "metrics")),
    *("matchLabels.kubernetes.io/metadata.name", "containers.image", "healthcheck.test", "entrypoint"),
}
ON_DISK = ("prometheus.yml", "grafana-boards.yml", "grafana-sources.yml")  # which a composition reads there


def words(part, path=(), keys=()):
    """Give the way to each text that has letters, with its keys."""
    if isinstance(part, dict | list):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            yield from words(value, (*path, key), (*keys, str(key)) if isinstance(part, dict) else keys)
    elif isinstance(part, str) and re.search("[A-Za-z]{2}", part) and part != "/tmp/bentoml":  # any folder there
        yield path, keys, part


def misspelt(rng, word):
    """Swap, double or leave out letters that stand beside each other."""
    at = [i for i in range(len(word) - 1) if word[i : i + 2].isalpha() and word[i] != word[i + 1]]
    i = rng.choice(at)
    return rng.choice([word[:i] + word[i + 1] + word[i] + word[i + 2 :], word[:i] + word[i] + word[i:]])


def with_value(document, path, value):
    changed = copy.deepcopy(document)
    part = changed
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return changed


@pytest.mark.parametrize("target", TARGETS)
def test_every_value_that_is_misspelt_is_found(written, target):
    rng = random.Random(f"values of {target}")
    files, unseen = validating.read(written / target), []
    held = {file.name: file.documents for file in files}
    for file in (each for each in files if each.name not in ON_DISK):
        for i, document in enumerate(file.documents):
            for path, keys, word in words(document):
                wrong = misspelt(rng, word)
                changed = [*file.documents[:i], with_value(document, path, wrong), *file.documents[i + 1 :]]
                if any(validating.faults_of(file._replace(documents=changed))):
                    continue
                if not agreeing.faults({**held, file.name: changed}, written / target):
                    unseen.append((file.name, ".".join(keys[-2:]), wrong))
    told = [each for each in unseen if not {each[1], each[1].rpartition(".")[2]} & ANY_WORD]
    assert told == []


@pytest.fixture(scope="module")
def files(written):
    return {target: validating.read(written / target) for target in TARGETS}


@settings(max_examples=60)
@given(st.data())
def test_a_key_that_is_misspelt_anyhow_is_found(written, files, data):
    target = data.draw(st.sampled_from(TARGETS))
    file = data.draw(st.sampled_from(files[target]))
    path = data.draw(st.sampled_from([*places(file.documents[0])]))
    at = data.draw(st.integers(0, len(path[-1]) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyzABC_-"))
    word = path[-1][:at] + letter + path[-1][at:]
    held = {each.name: each.documents for each in files[target]}
    changed = with_key(file.documents[0], path, word)
    found = [*validating.faults_of(file._replace(documents=[changed]))]
    assert found or agreeing.faults({**held, file.name: [changed]}, written / target), (file.name, path, word)


def spoil(written, tmp_path, name, old, new):
    folder = shutil.copytree(written, tmp_path / "copy")
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return folder


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("base/deployment.yaml", "revisionHistoryLimit", "revisionHistoryLimt", "Did you mean 'revisionHistoryLimit'?"),
        ("base/hpa.yaml", "minReplicas: 2", 'minReplicas: "2"', "spec.minReplicas: must be of type"),
        ("base/service.yaml", "targetPort: http", "targetPort: htpp", "the port 'htpp' must be one of the pods'"),
        ("base/kustomization.yaml", "- hpa.yaml", "- hap.yaml", "names hap.yaml, which is not there"),
        ("base/deployment.yaml", "name: tmp\n              mountPath", "name: tpm\n              mountPath", "'tpm'"),
        ("base/deployment.yaml", "EKIBEN_DRAIN_S", "EKIBEN_DRIAN_S", "must be spelt 'EKIBEN_DRAIN_S'"),
        ("base/hpa.yaml", "type: Utilization", "type: Utilisation", "must be one of AverageValue, Utilization, Value"),
        ("base/networkpolicy.yaml", "- Egress", "- Egres", "spec.policyTypes.1 must be one of Egress, Ingress"),
        ("base/deployment.yaml", '"704Mi"', '"704MI"', "must be a quantity, such as 500m or 256Mi"),
        ("base/deployment.yaml", '"640Mi"', '"6400Mi"', "must not request more ephemeral-storage than its limit"),
        ("base/deployment.yaml", "path: /livez", "path: /livz", "must be spelt '/livez'"),
        ("base/deployment.yaml", "/etc/ekiben/records/dsn", "/etc/ekiben/record/dsn", "that a volume brings"),
        ("base/deployment.yaml", 'value: "3000"', 'value: "300"', "BENTOML_PORT must be a port of the container"),
        ("base/deployment.yaml", "secretName: credit-risk-keys", "secretName: credit-rsik-keys", "'credit-risk-keys'"),
        (
            "base/hpa.yaml",
            "name: credit-risk\n  minR",
            "name: credit-rik\n  minR",
            "There is no Deployment 'credit-rik'",
        ),
        ("base/serviceaccount.yaml", "name: credit-risk", "name: credit-riskk", "There is no 'credit-risk'"),
        ("components/rollout/rollout.yaml", "kind: Rollout", "kind: RollOut", "kind must be one of"),
        ("components/rollout/rollout.yaml", "- name: hash", "- name: hsah", "the argument 'hsah' must be one of"),
        ("components/monitoring/adapter.values", "metricsQuery", "metricQuery", "Did you mean 'metricsQuery'?"),
        ("components/monitoring/servicemonitor.yaml", "port: http", "port: htpt", "must be one of the Service's"),
        ("overlays/staging/kustomization.yaml", "credit-risk-staging", "credit-risk-stagin", "beside it"),
        ("base/hpa.yaml", "autoscaling/v2", "autoscaling//v2", "no schema is known of the kind"),
        ("base/deployment.yaml", "kind: Deployment", "kind: Deploymnet", "no schema is known of the kind 'Deploymnet'"),
        ("components/rollout/rollout.yaml", "setWeight", "setWieght", "Did you mean 'setWeight'?"),
        ("overlays/staging/hpa.yaml", "maxReplicas", "maxReplica", "Did you mean 'maxReplicas'?"),
        ("base/route.toml", "weights", "wieghts", "Did you mean 'weights'?"),
        ("base/deployment.yaml", "maxUnavailable: 0", "maxUnavailable: O", "a number of pods, or per cent of them"),
        ("base/pdb.yaml", "maxUnavailable: 1", "maxUnavailable: 1%%", "a number of pods, or per cent of them"),
        ("base/deployment.yaml", "timeoutSeconds: 5", "timeoutSeconds: 0", "must be 1 at least. Got 0"),
        ("base/hpa.yaml", "Seconds: 300", "Seconds: 30000", "must be 0 at least, and 3600 at most. Got 30000"),
        ("base/route.toml", "[route]", "[rout]", "Did you mean 'route'?"),
    ],
)
def test_a_fault_is_told_with_its_place_and_the_nearest_word(written, tmp_path, name, old, new, says):
    folder = spoil(written / "kubernetes", tmp_path, name, old, new)
    with pytest.raises(SpecError) as refused:
        deploying.validate(folder)
    assert says in str(refused.value)
    assert name in str(refused.value)


def test_of_a_short_name_one_letter_may_be_another():
    part = {"services": {"credit-risk": {"environment": {"HOXE": "/tmp", "LOG": "json"}}}}
    found = agreeing.faults({"service.yaml": [part]}, Path())
    assert found == ["service.yaml: services.credit-risk.environment.HOXE must be spelt 'HOME'"]


def test_what_a_patch_may_change_is_spelt_as_kustomize_spells_it():
    patch = {"path": "hpa.yaml", "options": {"allowNameChange": True, "allowKindChnage": True}}
    document = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "patches": [patch]}
    (told,) = validating.faults_of(validating.File("kustomization.yaml", [document], False))
    assert told.endswith("Did you mean 'allowKindChange'?")


def test_a_selector_that_selects_nothing_is_found(written, tmp_path):
    folder = spoil(
        written / "kubernetes",
        tmp_path,
        "base/pdb.yaml",
        "matchLabels:\n      app.kubernetes.io/name: credit-risk",
        "matchLabels:\n      app.kubernetes.io/name: credit-rsik",
    )
    with pytest.raises(SpecError, match="its matchLabels must be labels of the pods"):
        deploying.validate(folder)


def test_compose_names_what_is_there(written, tmp_path):
    folder = spoil(written / "compose", tmp_path, "compose.yaml", "source: kept", "source: kpet")
    with pytest.raises(SpecError, match="volumes must hold 'kpet', which a service names"):
        deploying.validate(folder)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("compose.yaml", "./route.toml", "./rute.toml", "names ./rute.toml, which is not there"),
        ("compose.yaml", "read_only: true", "read_only: ture", "must be true or false. Got 'ture'"),
        ("compose.yaml", "./secrets/records_dsn", "./secrets/record_dsn", "must be spelt './secrets/records_dsn'"),
        ("compose.yaml", "/run/secrets/keys.toml", "/run/secrets/key.toml", "must name a file or folder that it gets"),
        ("compose.yaml", "--username=ekiben", "--username=ekben", "its health check must ask for POSTGRES_USER"),
        ("compose.yaml", "3000/readyz", "3000/readzy", "must be spelt '/readyz'"),
        ("compose.yaml", "import os;", "improt os;", "must be a program of Python"),
        ("compose.yaml", 'restart: "no"', 'restart: "on"', "must be one of always, no"),
        ("prometheus.yml", "/etc/prometheus/alerts.yml", "/etc/prometheus/alert.yml", "which no service gets"),
        ("prometheus.yml", "job_name: credit-risk", "job_name: credit-rsik", "must be spelt 'credit-risk'"),
        ("alerts.yml", "rate(ekiben_unrecorded_total", "rate(ekiben_unrecoded_total", "'ekiben_unrecorded_total'"),
        ("alerts.yml", "max(ekiben", "mxa(ekiben", "must call what a query knows. Got 'mxa'"),
        ("dashboard.json", '"gridPos"', '"gridPso"', "must be spelt 'gridPos'"),
        ("dashboard.json", '"timeseries"', '"timeserise"', "must be spelt 'timeseries'"),
        ("secrets/keys.toml", "scopes", "scope", "a key holds sha256, scopes and until"),
    ],
)
def test_what_compose_s_files_say_of_each_other_is_held_to(written, tmp_path, name, old, new, says):
    with pytest.raises(SpecError, match=re.escape(says)):
        deploying.validate(spoil(written / "compose", tmp_path, name, old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("kubernetes/base/deployment.yaml", "- name: HOME\n", "- name: SSL_CERT_FILE\n              value: /etc/ssl/x.pem\n            - name: HOME\n"),
        ("kubernetes/base/deployment.yaml", '"704Mi"', '"1Gi"'),
        ("kubernetes/base/deployment.yaml", 'cpu: "3"', 'cpu: "3500m"'),
        ("kubernetes/base/deployment.yaml", "path: /livez", "path: /v2/health/live"),
        ("kubernetes/base/service.yaml", "type: ClusterIP", "type: LoadBalancer"),
        ("kubernetes/components/rollout/rollout.yaml", '"5m"', '"1h30m"'),
        ("kubernetes/components/rollout/analysistemplate.yaml", "prometheus-operated.monitoring.svc", "prometheus.observability"),
        ("kubernetes/components/monitoring/prometheusrule.yaml", "severity: page", "severity: critical"),
        ("compose/compose.yaml", "restart: unless-stopped", "restart: on-failure:5"),
        ("compose/compose.yaml", '"127.0.0.1:3000:3000"', '"${PORT:-3000}:3000"'),
        ("compose/compose.yaml", "prom/prometheus:v3.5.0", "quay.io/prometheus/prometheus:v3.6.0"),
        ("compose/compose.yaml", "      HOME: /tmp\n", "      HOME: /tmp\n      PYTHONPATH: /app/site\n"),
        ("compose/alerts.yml", "for: 15m", "for: 1h"),
        ("knative/service.yaml", "metric: rps", "metric: concurrency"),
        ("kserve/inferenceservice.yaml", "RawDeployment", "Serverless"),
    ],
)  # fmt: skip
def test_an_edit_that_somebody_may_want_passes(written, tmp_path, name, old, new):
    target, _, file = name.partition("/")
    assert deploying.validate(spoil(written / target, tmp_path, file, old, new)) > 1


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("base/service.yaml", "spec:\n", "spce:\n", "spce is no key"),
        ("base/deployment.yaml", "volumes:\n        - name: tmp", "volumes:\n        - name: [tmp]", "must be of type string"),
        ("base/deployment.yaml", "drop:\n                - ALL", "drop: 7", "must be of type"),
        ("base/hpa.yaml", "name: cpu", "name: \udcff", "must be text in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_of_another_kind_is_told_and_no_fault_of_ours(written, tmp_path, name, old, new, says):
    folder = shutil.copytree(written / "kubernetes", tmp_path / "copy")
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))
    with pytest.raises(SpecError, match=re.escape(says)):
        deploying.validate(folder)


# ── what others say of it


@pytest.mark.parametrize("place", RENDERED)
def test_kubectl_renders_what_every_version_takes(written, place, tmp_path):
    code, text, said = kubectl.render(written / place)
    assert code == 0, said
    (tmp_path / "all.yaml").write_text(text)
    assert deploying.validate(tmp_path) >= 3
    found = documents(tmp_path / "all.yaml")
    (route,) = [each["metadata"]["name"] for each in found if each["kind"] == "ConfigMap"]
    assert route.startswith("credit-risk-route-")
    assert text.count(route) == 2  # by the name that holds its digest it is mounted, too


def test_production_is_ramped_and_watched(written):
    code, text, said = kubectl.render(written / "kubernetes/overlays/production")
    assert code == 0, said
    found = {each["kind"]: each for each in yaml.safe_load_all(text)}
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["kind"] == "Rollout"
    assert len(found["HorizontalPodAutoscaler"]["spec"]["metrics"]) == 2
    assert found["Deployment"]["spec"]["replicas"] == 0
    assert {"ServiceMonitor", "PrometheusRule", "AnalysisTemplate"} <= set(found)
    assert found["Namespace"]["metadata"]["name"] == found["Rollout"]["metadata"]["namespace"] == "credit-risk"


def test_a_shadow_that_fails_takes_no_new_version_back(written):
    told = yaml.safe_load((written / "kubernetes/components/rollout/analysistemplate.yaml").read_text())
    query = told["spec"]["metrics"][0]["provider"]["prometheus"]["query"]
    assert query.count('endpoint!="shadow"') == query.count("ekiben_answers_total{") == 2


def test_the_adapter_makes_what_the_autoscaler_counts_of_a_counter_that_the_service_has(written):
    folder = written / "kubernetes/components/monitoring"
    (rule,) = yaml.safe_load((folder / "adapter.values").read_text())["rules"]["custom"]
    counted = [
        each["pods"]["metric"]["name"]
        for each in yaml.safe_load((folder / "hpa.yaml").read_text())["spec"]["metrics"]
        if each["type"] == "Pods"
    ]
    assert [rule["name"]["as"]] == counted
    counter = meter()._answers
    assert rule["seriesQuery"].startswith(f"{counter._name}_total{{")
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert "adapter.values" not in kustomization["resources"]  # it is no object of the cluster


def test_the_rollout_takes_the_steps_of_the_spec():
    told = 'format = 1\nname = "churn"\nramp = [2, 40]\n[arms]\na = "models:/c/1"\n'
    assert sites.ramp_of(spec.loads(told)) == (2, 40)
    assert spec.loads(dumps(spec.loads(told))).ramp == (2, 40)
    with pytest.raises(SpecError, match=re.escape("ramp must rise, in whole per cent from 1 to 99")):
        spec.loads(told.replace("[2, 40]", "[40, 2]"))


def test_an_arm_that_the_service_does_not_have_is_told(service, written, tmp_path):
    folder = spoil(written / "kubernetes", tmp_path, "base/route.toml", "champion = ", "champoin = ")
    assert deploying.validate(folder) > 10  # nothing tells of which service they are
    with pytest.raises(
        SpecError, match=r"base/route.toml: route.weights.champoin must be an arm .* Did you mean 'champion'"
    ):
        deploying.validate(folder, service=service)
    inside = tmp_path / "service"
    shutil.copytree(folder, inside / "deploy/kubernetes")
    shutil.copy(service / spec.FILE, inside)
    with pytest.raises(SpecError, match=r"Did you mean 'champion'"):
        deploying.validate(inside / "deploy/kubernetes")


def test_a_name_that_no_arm_has_is_told_with_its_file(written, tmp_path):
    folder = spoil(written / "kubernetes", tmp_path, "base/route.toml", "champion = ", "Champion-2 = ")
    with pytest.raises(SpecError, match=r"base/route.toml: An arm must be named by lower case letters"):
        deploying.validate(folder)


def test_another_route_is_another_name(written, tmp_path):
    folder = spoil(written / "kubernetes", tmp_path, "base/route.toml", "champion = 0.8", "champion = 0.7")
    names = [
        next(
            each["metadata"]["name"]
            for each in yaml.safe_load_all(kubectl.render(place / "base")[1])
            if each["kind"] == "ConfigMap"
        )
        for place in (written / "kubernetes", folder)
    ]
    assert names[0] != names[1]


def test_kustomize_refuses_a_misspelt_key_as_we_do(written, tmp_path):
    folder = spoil(written / "kubernetes", tmp_path, "base/kustomization.yaml", "resources:", "resource:")
    assert kubectl.render(folder / "base")[0] != 0


def test_prometheus_takes_its_configuration(written, tmp_path):
    folder = shutil.copytree(written / "compose", tmp_path / "compose")
    text = (folder / "prometheus.yml").read_text()
    for there, here in (("/etc/prometheus/", f"{folder}/"), ("/run/secrets/", f"{folder}/secrets/")):
        text = text.replace(there, here)
    (folder / "prometheus.yml").write_text(text)
    done = subprocess.run(
        [prometheus.program("promtool"), "check", "config", folder / "prometheus.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ── compose and its secrets


def test_compose_asks_for_no_more_processors_than_docker_finds(service, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    folder = deploying.manifests(service, target="compose", image=IMAGE, out=tmp_path)
    services = one(folder / "compose.yaml")["services"]
    assert [each["cpus"] for each in services.values() if "cpus" in each] == [1.0]


def test_secrets_are_made_once_and_fit_each_other(service, tmp_path):
    folder = deploying.manifests(service, target="compose", image=IMAGE, out=tmp_path)
    held = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    assert sorted(held) == ["grafana_password", "keys.toml", "metrics_token", "postgres_password", "records_dsn"]
    assert held["postgres_password"] in held["records_dsn"]
    assert (folder / "secrets").stat().st_mode & 0o077 == 0
    from ekiben import keys

    (key,) = keys.parse(held["keys.toml"])
    assert keys.Keys([key]).judge(f"Bearer {held['metrics_token']}".encode(), "read") is None
    deploying.manifests(service, target="compose", image="credit-risk:2", out=tmp_path)
    assert {path.name: path.read_text() for path in (folder / "secrets").iterdir()} == held
    written = "".join(path.read_text() for path in folder.glob("*") if path.is_file())
    assert not [name for name, text in held.items() if text in written]


def test_a_key_of_prometheus_is_added_to_those_that_are_there(service, tmp_path):
    from ekiben import keys

    (tmp_path / "secrets").mkdir()
    _, lines = keys.make("shop", ["read"])
    (tmp_path / "secrets" / "keys.toml").write_text(lines)
    deploying.manifests(service, target="compose", image=IMAGE, out=tmp_path)
    known = keys.parse((tmp_path / "secrets" / "keys.toml").read_text())
    assert sorted(each.name for each in known) == ["prometheus", "shop"]


def test_where_the_token_of_prometheus_was_lost_it_gets_another_key(service, tmp_path):
    from ekiben import keys

    deploying.manifests(service, target="compose", image=IMAGE, out=tmp_path)
    (tmp_path / "secrets" / "metrics_token").unlink()
    deploying.manifests(service, target="compose", image=IMAGE, out=tmp_path)
    known = keys.parse((tmp_path / "secrets" / "keys.toml").read_text())
    assert [each.name.split("-")[0] for each in known] == ["prometheus", "prometheus"]
    assert (tmp_path / "secrets" / "metrics_token").is_file()


def test_keys_that_are_there_outlive_a_disk_that_is_full(service, tmp_path, monkeypatch):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "keys.toml").write_text("# ours\n")

    def write(path, *_, **__):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", write)
    with pytest.raises(OSError, match="No space"):
        compose.make_secrets(sites.Site(spec=spec.read(service), image=IMAGE), tmp_path)
    assert (tmp_path / "secrets" / "keys.toml").read_text() == "# ours\n"


def test_only_the_gateway_s_ports_are_published_and_on_this_machine(written):
    services = one(written / "compose/compose.yaml")["services"]
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert all(service["cap_drop"] == ["ALL"] and service["read_only"] for service in services.values())


# ── sizes


def test_a_site_says_all_its_faults_at_once(service):
    with pytest.raises(SpecError) as refused:
        sites.Site(spec=spec.read(service), image="x", replicas=(0, 1), ramp=(0,))
    assert str(refused.value).count("\n- ") == 3


@pytest.mark.parametrize(
    ("image", "name", "version"),
    [
        ("churn:1", "churn", "1"),
        ("localhost:5000/team/churn:1.2-rc.1", "localhost:5000/team/churn", "1.2-rc.1"),
        (f"churn@sha256:{'ab' * 32}", "churn", "abababababab"),
        ("churn:_1.", "churn", "1"),
    ],
)
def test_an_image_is_taken_apart(service, image, name, version):
    site = sites.Site(spec=spec.read(service), image=image)
    assert (site.image_name, site.version) == (name, version)
    assert replace(site, replicas=(1, 1)).selector["app.kubernetes.io/name"] == "credit-risk"


def test_the_documents_folder_shows_the_same_files():
    docs = Path(__file__).parents[1] / "docs" / "operations"
    for name in ("alerts.yml", "dashboard.json"):
        assert (docs / name).resolve() == Path(deploying.__file__).parent / "monitoring" / name
