"""What is exported for a cloud is what its own SDK takes, without an account."""

import json
import re

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

import ekiben as ek
import strangers
from ekiben.errors import NotFoundError, SpecError

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/credit-risk:1.2.0"
ROLE = "arn:aws:iam::123456789012:role/serving"
SPEC = """
format = 1
name = "credit_risk"
timeout_s = 20
workers = 2
[arms]
champion = "models:/credit_risk/1"
challenger = "models:/credit_risk/2"
[route]
weights = { champion = 0.9, challenger = 0.1 }
"""


@pytest.fixture
def service(tmp_path):
    (tmp_path / "ekiben.toml").write_text(SPEC)
    return tmp_path


def exported(service, target, **given):
    return ek.export(service, target=target, image=IMAGE, **{"role": ROLE, **given})


# ── SageMaker


@pytest.fixture(scope="module")
def sagemaker():
    return botocore.session.get_session().get_service_model("sagemaker")


def complaints(sagemaker, method, document):
    """Tell what boto3 would say of a request before it sends it."""
    operation = "".join(part.title() for part in method.split("_"))
    shape = sagemaker.operation_model(operation).input_shape
    return ParamValidator().validate(document, shape).generate_report()


METHODS = ("create_model", "create_endpoint_config", "create_endpoint", "update_endpoint")


def test_sagemaker_s_requests_are_named_like_the_methods_that_take_them(service):
    assert sorted(path.stem for path in exported(service, "sagemaker").iterdir()) == sorted(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_boto3_takes_sagemaker_s_requests_and_no_misspelling_of_them(service, sagemaker, method):
    document = json.loads((exported(service, "sagemaker") / f"{method}.json").read_text())
    assert complaints(sagemaker, method, document) == ""
    for key in document:
        wrong = {(f"{name[:-1]}x" if name == key else name): value for name, value in document.items()}
        assert "Unknown parameter" in complaints(sagemaker, method, wrong)


def test_sagemaker_goes_over_by_the_ramp_and_its_parts_name_each_other(service):
    told = {path.stem: json.loads(path.read_text()) for path in exported(service, "sagemaker").iterdir()}
    (variant,) = told["create_endpoint_config"]["ProductionVariants"]
    assert variant["ModelName"] == told["create_model"]["ModelName"] == "credit-risk-1-2-0"
    assert told["create_endpoint"]["EndpointConfigName"] == told["create_endpoint_config"]["EndpointConfigName"]
    policy = told["update_endpoint"]["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["CanarySize"] == {"Type": "CAPACITY_PERCENT", "Value": 10}
    container = told["create_model"]["PrimaryContainer"]
    assert container["Environment"]["BENTOML_PORT"] == "8080"
    assert told["create_model"]["EnableNetworkIsolation"] is True


def test_sagemaker_needs_a_role(service):
    with pytest.raises(SpecError, match="The 'role' must be the ARN"):
        exported(service, "sagemaker", role=None)
    assert not (service / "deploy").exists()


# ── Vertex and Azure: their SDKs, in an environment of their own


def read_by(cloud, folder):
    return strangers.ask("clouds", {"cloud": cloud, "folder": str(folder)})


@pytest.mark.slow
@pytest.mark.xdist_group("clouds")
def test_vertex_s_messages_are_made_of_what_is_exported(service):
    folder = exported(service, "vertex")
    told = read_by("vertex", folder)
    container = told["model"]["containerSpec"]
    assert (container["predictRoute"], container["healthRoute"]) == ("/invocations", "/ping")
    assert told["deployed_model"]["dedicatedResources"]["maxReplicaCount"] == 4
    assert told == {path.stem: json.loads(path.read_text()) for path in folder.iterdir()}
    path = folder / "model.json"
    path.write_text(path.read_text().replace("predictRoute", "predictRoot"))
    assert "predictRoot" in read_by("vertex", folder)["refused"]


@pytest.mark.slow
@pytest.mark.xdist_group("clouds")
def test_azure_s_sdk_reads_what_is_exported(service):
    folder = exported(service, "azureml")
    told = read_by("azureml", folder)
    assert told["endpoint"] == {"name": "credit-risk", "auth_mode": "key"}
    assert {key: value["path"] for key, value in told["environment"].items()} == {
        "livenessRoute": "/livez",
        "readinessRoute": "/readyz",
        "scoringRoute": "/score",
    }
    settings = told["deployment"]["properties"]["requestSettings"]
    assert settings == {"maxConcurrentRequestsPerInstance": 128, "requestTimeout": "PT20S"}
    path = folder / "deployment.yml"
    path.write_text(path.read_text().replace("instance_count", "instance_cuont"))
    assert "instance_cuont" in read_by("azureml", folder)["refused"]


def test_the_same_service_gives_the_same_bytes(service):
    for target in ("vertex", "azureml"):
        folder = exported(service, target)
        first = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {path.name: path.read_bytes() for path in exported(service, target).iterdir()} == first


def test_azure_asks_where_a_service_answers(service):
    told = yaml.safe_load((exported(service, "azureml") / "deployment.yml").read_text())
    ports = {route["port"] for route in told["environment"]["inference_config"].values()}
    assert ports == {int(told["environment_variables"]["BENTOML_PORT"])}


# ── what is refused


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"target": "sagemakr"}, "Did you mean 'sagemaker'?"),
        ({"target": "vertex", "image": "churn"}, "The 'image' must name a tag that stays"),
        ({"target": "vertex", "replicas": 1}, "The 'replicas' must be the fewest and the most"),
        ({"target": "vertex", "replicas": (2, 1)}, "The 'replicas' must be"),
    ],
)
def test_what_cannot_be_is_refused(service, given, says):
    with pytest.raises(SpecError, match=re.escape(says)):
        ek.export(service, **{"image": IMAGE, **given})


def test_a_name_that_azure_does_not_take_is_refused(service):
    (service / "ekiben.toml").write_text(SPEC.replace('"credit_risk"\n', '"c"\n', 1))
    with pytest.raises(SpecError, match="a name of 3 to 32 letters"):
        exported(service, "azureml")


def test_a_bento_must_be_there():
    with pytest.raises(NotFoundError, match="No bento 'nothing:here'"):
        ek.export("nothing:here", target="vertex", image=IMAGE)
