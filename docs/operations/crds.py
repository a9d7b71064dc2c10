"""Write the schemas of others that `ekiben.deploying` holds: python docs/operations/crds.py FOLDER.

FOLDER holds a checkout of each source's repository, as `owner+name`; docs/decisions/0021-manifests-are-checked-key-by-key.md names them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).parents[2] / "sdk" / "ekiben" / "deploying" / "schemas"
SOURCES = {
    "inferenceservice-serving.kserve.io-v1beta1": "kserve+kserve/config/crd/full/serving.kserve.io_inferenceservices.yaml",
    "rollout-argoproj.io-v1alpha1": "argoproj+argo-rollouts/manifests/crds/rollout-crd.yaml",
    "analysistemplate-argoproj.io-v1alpha1": "argoproj+argo-rollouts/manifests/crds/analysis-template-crd.yaml",
    "servicemonitor-monitoring.coreos.com-v1": "prometheus-operator+prometheus-operator/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    "prometheusrule-monitoring.coreos.com-v1": "prometheus-operator+prometheus-operator/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    "service-serving.knative.dev-v1": "knative+serving/config/core/300-resources/service.yaml",
    "compose": "compose-spec+compose-spec/schema/compose-spec.json",
}
HELD = {
    *("$ref", "type", "required", "enum", "const", "pattern", "format", "minimum", "maximum", "minLength", "maxLength"),
    *("minItems", "maxItems", "minProperties", "uniqueItems"),
}
NAMED = ("properties", "patternProperties", "definitions")
SEVERAL = ("anyOf", "oneOf", "allOf")
OPEN = {
    "emptyDir": {"medium": {"type": "string"}, "sizeLimit": {"type": ["integer", "string"]}}
}  # left open by Knative alone
ONE = ("items", "additionalProperties", "not", "propertyNames")


def lean(schema: Any) -> Any:
    """Keep what decides, and nothing that only tells; what has properties takes no others."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    kept = {key: value for key, value in schema.items() if key in HELD}
    kept |= {key: {name: lean(each) for name, each in schema[key].items()} for key in NAMED if key in schema}
    kept |= {key: [lean(each) for each in schema[key]] for key in SEVERAL if key in schema}
    kept |= {key: lean(schema[key]) for key in ONE if key in schema}
    for name in OPEN.keys() & kept.get("properties", {}).keys():
        kept["properties"][name] = {"type": "object", "properties": OPEN[name], "additionalProperties": False}
    if "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def shared(schema: dict[str, Any]) -> dict[str, Any]:
    """Say once what stands in many places: a pod's parts are repeated in each of these."""
    seen = Counter[str]()

    def count(part: Any) -> None:
        if isinstance(part, dict | list):
            text = json.dumps(part, sort_keys=True)
            seen[text] += 1
            if seen[text] == 1:
                for each in part.values() if isinstance(part, dict) else part:
                    count(each)

    count(schema)
    names: dict[str, str] = {}
    defs: dict[str, Any] = {}

    def place(part: Any, *, is_schema: bool) -> Any:
        if isinstance(part, list):
            return [place(each, is_schema=isinstance(each, dict)) for each in part]
        if not isinstance(part, dict):
            return part
        made = {key: place(each, is_schema=not is_schema or key in ONE) for key, each in part.items()}
        text = json.dumps(part, sort_keys=True)
        if not is_schema or seen[text] < 2 or len(text) < 60:
            return made
        if text not in names:
            names[text] = f"d{len(names)}"
            defs[names[text]] = made
        return {"$ref": f"#/$defs/{names[text]}"}

    whole = place(schema, is_schema=True)
    return {**whole, "$defs": defs} if defs else whole


def of_crd(path: Path, version: str) -> dict[str, Any]:
    """Give the schema of one version of a custom resource."""
    documents = [each for each in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) if each]
    found = next(each for each in documents[0]["spec"]["versions"] if each["name"] == version)
    schema = lean(found["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # every object's own, which is looked at elsewhere
    return shared(schema)


def main(folder: Path) -> None:
    """Write every schema, one to a file."""
    for name, place in SOURCES.items():
        source = folder / place
        if source.suffix == ".json":
            made = lean(json.loads(source.read_text(encoding="utf-8")))
        else:
            made = of_crd(source, name.rpartition("-")[2])
        text = json.dumps(made, sort_keys=True, separators=(",", ":"))
        TARGET.joinpath(f"{name}.json").write_text(text.replace('},"', '},\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
