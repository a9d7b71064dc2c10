"""Read what was exported with the clouds' own SDKs, and print what they made of it as JSON; an account is not asked."""

import json
import logging
import sys
from pathlib import Path

from azure.ai.ml import load_online_deployment, load_online_endpoint
from google.cloud import aiplatform_v1

logging.disable()
MESSAGES = {
    "model": aiplatform_v1.Model,
    "endpoint": aiplatform_v1.Endpoint,
    "deployed_model": aiplatform_v1.DeployedModel,
}


def of_vertex(folder):
    told = {}
    for name, kind in MESSAGES.items():
        text = Path(folder, f"{name}.json").read_text()
        made = kind.from_json(text, ignore_unknown_fields=False)
        told[name] = json.loads(kind.to_json(made, including_default_value_fields=False))
    return told


def of_azure(folder):
    endpoint = load_online_endpoint(Path(folder, "endpoint.yml"))
    deployment = load_online_deployment(Path(folder, "deployment.yml"))
    return {
        "endpoint": {"name": endpoint.name, "auth_mode": endpoint.auth_mode},
        "environment": deployment.environment.inference_config.as_dict(),
        "deployment": deployment._to_rest_object("westeurope").as_dict(),
    }


ASKED = {"vertex": of_vertex, "azureml": of_azure}
asked = json.load(sys.stdin)
try:
    print(json.dumps(ASKED[asked["cloud"]](asked["folder"])))
except Exception as reason:  # what an SDK refuses it says in its own way
    print(json.dumps({"refused": f"{type(reason).__name__}: {reason}"}))
