"""Ask a service by KServe's client what it is told on its input, and print what came as JSON."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

DTYPES = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


def inputs_of(row, known, *, binary):
    made = []
    for entry in known:
        tensor = InferInput(entry["name"], [1], entry["datatype"])
        value = np.array([row[entry["name"]]], dtype=DTYPES[entry["datatype"]])
        tensor.set_data_from_numpy(value, binary_data=binary)
        made.append(tensor)
    return made


async def infer(client, asked, row, unit, *, binary):
    request = InferRequest(
        model_name=asked["model"],
        infer_inputs=inputs_of(row, asked["known"], binary=binary),
        request_outputs=[RequestedOutput(name, parameters={"binary_data": binary}) for name in ("label", "scores")],
        parameters={"customer_id": unit},
        request_id=f"mine-{unit}",
    )
    told = {}
    answer = await client.infer(asked["url"], request, model_name=asked["model"], response_headers=told)
    scores = answer.get_output_by_name("scores")
    return {
        "id": answer.id,
        "model": answer.model_name,
        "label": answer.get_output_by_name("label").as_numpy().tolist(),
        "scores": scores.as_numpy().tolist(),
        "as_bytes": "inference-header-content-length" in told,
    }


async def refusal(client, asked, request):
    try:
        await client.infer(asked["url"], request, model_name=asked["model"])
    except httpx.HTTPStatusError as refused:
        return {"status": refused.response.status_code, "says": str(refused)}
    return None


async def main(asked):
    url, model = asked["url"], asked["model"]
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=120)) as client:
        unknown = InferInput("nothing_of_ours", [1], "INT64")
        unknown.set_data_from_numpy(np.array([1]), binary_data=True)
        ready = [await client.is_model_ready(url, name) for name in (model, "nothing_of_ours")]
        return {
            "server": [await client.is_server_live(url), await client.is_server_ready(url)],
            "model": ready,
            "answers": {
                name: [await infer(client, asked, row, str(i), binary=binary) for i, row in enumerate(asked["rows"])]
                for name, binary in (("json", False), ("bytes", True))
            },
            "refused": await refusal(client, asked, InferRequest(model_name=model, infer_inputs=[unknown])),
            "refused_dict": await refusal(client, asked, {"inputs": []}),
        }


print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
