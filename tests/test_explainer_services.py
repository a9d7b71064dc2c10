"""A second service that explains the same arms: its manifests beside the first one's, and how callers hear of it."""

import re

import pytest
import yaml

import kubectl
from ekiben import deploying, spec
from ekiben.errors import SpecError
from ekiben.explaining import wishes
from ekiben.explaining.answering import Explaining
from ekiben.metering import meter
from test_deploying import IMAGE, TEXT, misspellings, one, pod_of, spoil, unseen

SECOND = TEXT.replace('"credit_risk"', '"credit_risk_alibi"').replace('to = "postgres"', 'to = "file"')
SECOND += '[explain]\nmethods = ["anchor-alibi"]\n'
SECOND_IMAGE = "registry.example.com/team/credit-risk-alibi:1.2.0"
TOGETHER = ("kubernetes", "kserve", "knative", "compose")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders of both services, of which manifests read the specs alone."""
    made = [tmp_path_factory.mktemp("pair") / name for name in ("credit_risk", "credit_risk_alibi")]
    for folder, text in zip(made, (TEXT, SECOND), strict=True):
        folder.mkdir()
        (folder / "ekiben.toml").write_text(text)
    return made


@pytest.fixture(scope="module")
def written(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("manifests")
    for target in TOGETHER:
        beside = {"explainer": folders[1], "explainer_image": SECOND_IMAGE}
        deploying.manifests(folders[0], target=target, image=IMAGE, out=out / target, callers=("shop",), **beside)
    return out


@pytest.mark.parametrize("target", TOGETHER)
def test_both_services_are_valid_and_no_key_may_be_misspelt(written, target):
    assert deploying.validate(written / target) >= 3
    assert list(unseen(written / target, lambda key: [misspellings(key)[0]])) == []


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_each_stage_runs_both_and_tells_the_first_where_the_second_is(written, stage):
    code, text, said = kubectl.render(written / "kubernetes/overlays" / stage)
    assert code == 0, said
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}
    images = {
        name: found["Deployment", name]["spec"]["template"]["spec"]["containers"][0]["image"]
        for name in ("credit-risk", "credit-risk-alibi")
    }
    assert images == {"credit-risk": IMAGE, "credit-risk-alibi": SECOND_IMAGE}
    for kind in ("Service", "NetworkPolicy", "ServiceAccount", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
        assert (kind, "credit-risk-alibi") in found
    assert (("ServiceMonitor", "credit-risk-alibi") in found) == (stage == "production")
    assert found["HorizontalPodAutoscaler", "credit-risk-alibi"]["spec"]["minReplicas"] == 1


def test_the_address_is_that_of_a_service_in_the_same_namespace(written):
    (container,) = pod_of(written / "kubernetes/base/deployment.yaml")["containers"]
    names = [each["name"] for each in container["env"]]
    told = {each["name"]: each for each in container["env"]}
    assert told[wishes.ELSEWHERE]["value"] == "http://credit-risk-alibi.$(POD_NAMESPACE).svc"
    assert told["POD_NAMESPACE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert names.index("POD_NAMESPACE") < names.index(wishes.ELSEWHERE)  # a variable is known to those behind it
    assert one(written / "kubernetes/explainer/service.yaml")["metadata"]["name"] == "credit-risk-alibi"
    (second,) = pod_of(written / "kubernetes/explainer/deployment.yaml")["containers"]
    assert wishes.ELSEWHERE not in [each["name"] for each in second["env"]]


def test_who_may_ask_the_first_may_ask_the_second_which_asks_nobody(written):
    first, second = (one(written / f"kubernetes/{each}/networkpolicy.yaml")["spec"] for each in ("base", "explainer"))
    assert second["ingress"] == first["ingress"]
    assert second["egress"] == []
    assert second["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "credit-risk-alibi"
    assert all("podSelector" not in str(each) for each in first["egress"])  # nothing is forwarded


def test_on_one_machine_the_address_is_a_port_of_it(written):
    document = one(written / "compose/compose.yaml")
    services = document["services"]
    told = services["credit-risk"]["environment"][wishes.ELSEWHERE]
    assert services["credit-risk-alibi"]["ports"] == [f"{told.removeprefix('http://')}:3000"]
    assert services["credit-risk-alibi"]["image"] == SECOND_IMAGE
    assert wishes.ELSEWHERE not in services["credit-risk-alibi"]["environment"]
    assert {each["source"] for each in services["owner"]["volumes"]} == {"kept", "explainer"} <= {*document["volumes"]}
    jobs = yaml.safe_load((written / "compose/prometheus.yml").read_text())["scrape_configs"]
    assert [each["job_name"] for each in jobs] == ["credit-risk", "credit-risk-alibi"]


@pytest.mark.parametrize(
    ("target", "name", "old"),
    [
        ("kubernetes", "base/deployment.yaml", "http://credit-risk-alibi."),
        ("kserve", "inferenceservice.yaml", "http://credit-risk-alibi-predictor."),
        ("knative", "service.yaml", "http://credit-risk-alibi."),
        ("compose", "compose.yaml", "127.0.0.1:3002\n"),
    ],
)
def test_an_address_at_which_nobody_is_is_found(written, tmp_path, target, name, old):
    folder = spoil(written / target, tmp_path, name, old, old.replace("-alibi", "-alibbi").replace("3002", "3003"))
    with pytest.raises(SpecError, match=f"{wishes.ELSEWHERE} must name"):
        deploying.validate(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"credit_risk_alibi"', '"credit_risk"', "The 'explainer' must be a service of another name"),
        ("models:/credit_risk/2", "models:/credit_risk/3", "of the same versions. challenger differ"),
        ('methods = ["anchor-alibi"]', "methods = []", "must name a method in [explain] that the service has not"),
    ],
)
def test_a_second_service_that_does_not_fit_is_refused(folders, tmp_path, old, new, says):
    assert old in SECOND
    (tmp_path / "ekiben.toml").write_text(SECOND.replace(old, new))
    with pytest.raises(SpecError, match=re.escape(says)):
        deploying.manifests(folders[0], image=IMAGE, out=tmp_path, explainer=tmp_path, explainer_image=SECOND_IMAGE)


def test_a_second_service_needs_its_image(folders, tmp_path):
    with pytest.raises(SpecError, match="must be given together"):
        deploying.manifests(folders[0], image=IMAGE, out=tmp_path, explainer=folders[1])


def rendered(folder):
    code, text, said = kubectl.render(folder)
    assert code == 0, said
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}


def told_to_callers(container):
    return {each["name"]: each.get("value") for each in container["env"]}.get(wishes.ELSEWHERE)


def test_kserve_runs_two_inference_services_and_the_first_tells_where_the_second_answers(written):
    found = rendered(written / "kserve")
    pods = {name: found["InferenceService", name]["spec"]["predictor"] for name in ("credit-risk", "credit-risk-alibi")}
    assert [each["containers"][0]["image"] for each in pods.values()] == [IMAGE, SECOND_IMAGE]
    assert [each["minReplicas"] for each in pods.values()] == [2, 1]
    told = [told_to_callers(each["containers"][0]) for each in pods.values()]
    assert told == ["http://credit-risk-alibi-predictor.$(POD_NAMESPACE).svc", None]
    for name, pod in pods.items():
        assert ("ServiceAccount", pod["serviceAccountName"]) in found
        (route,) = [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each]
        assert route.startswith(f"{name}-route-")
        assert ("ConfigMap", route) in found


def test_knative_runs_two_services_and_the_address_follows_their_namespace(written, tmp_path):
    for space in ("credit-risk", "risk-team"):
        folder = spoil(
            written / "knative", tmp_path / space, "kustomization.yaml", "namespace: credit-risk", f"namespace: {space}"
        )
        found = rendered(folder)
        pods = [found["Service", name]["spec"]["template"]["spec"] for name in ("credit-risk", "credit-risk-alibi")]
        assert [each["containers"][0]["image"] for each in pods] == [IMAGE, SECOND_IMAGE]
        assert {each["metadata"]["namespace"] for each in found.values()} == {space}
        told = [told_to_callers(each["containers"][0]) for each in pods]
        assert told == [f"http://credit-risk-alibi.{space}.svc", None]
        assert all(
            "valueFrom" not in each for pod in pods for each in pod["containers"][0]["env"]
        )  # a feature that is off


def test_who_asks_for_a_method_of_the_other_service_is_told_its_address(monkeypatch):
    wish = wishes.Wish(method="anchor-alibi")
    with pytest.raises(SpecError) as plain:
        wishes.checked(wish, "linear", (), ["age"])
    monkeypatch.setenv(wishes.ELSEWHERE, "http://127.0.0.1:3002")
    with pytest.raises(SpecError, match=re.escape("Other methods are asked at http://127.0.0.1:3002.")) as told:
        wishes.checked(wish, "linear", (), ["age"])
    assert str(told.value).startswith(str(plain.value))


@pytest.mark.parametrize(
    "given", ["churn-alibi", "ftp://churn-alibi", "http://", "http://me:secret@churn-alibi", "http://["]
)
def test_an_address_that_is_none_is_refused_without_telling_it(monkeypatch, given):
    monkeypatch.setenv(wishes.ELSEWHERE, given)
    with pytest.raises(SpecError, match=f"{wishes.ELSEWHERE} must be an address without a password") as refused:
        wishes.elsewhere()
    assert "secret" not in str(refused.value)


def test_a_service_does_not_start_with_an_address_that_is_none(monkeypatch):
    monkeypatch.setenv(wishes.ELSEWHERE, "churn-alibi")
    with pytest.raises(SpecError, match=f"{wishes.ELSEWHERE} must be an address"):
        Explaining(spec.loads(TEXT), {}, meter())
