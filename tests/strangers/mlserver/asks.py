"""Write requests by MLServer's codecs, or read answers by its types and codecs, as the document on the input says."""

import json
import sys
from datetime import datetime

import numpy as np
import pandas as pd
from mlserver.codecs import Base64Codec, DatetimeCodec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    Parameters,
)

DTYPES = {"age": "int64", "income": "float64", "job": "object", "member": "bool"}


def dated(dates):
    """Give a body of ages and dates."""
    moments = [datetime.fromisoformat(text) for text in dates]
    ages = NumpyCodec.encode_input("age", np.full(len(dates), 30))
    inputs = [ages, DatetimeCodec.encode_input("since", moments, use_bytes=False)]
    return InferenceRequest(inputs=inputs).model_dump_json()


def written(rows, wide, dates):
    """Give bodies by name, each as MLServer's own types write it."""
    frame = pd.DataFrame(rows).astype(DTYPES)
    by_codec = InferenceRequest(
        parameters=Parameters(content_type=PandasCodec.ContentType),
        inputs=[
            NumpyCodec.encode_input("age", frame["age"].to_numpy()),
            NumpyCodec.encode_input("income", frame["income"].to_numpy().reshape(-1, 1)),
            StringCodec.encode_input("job", frame["job"].tolist(), use_bytes=False),
            NumpyCodec.encode_input("member", frame["member"].to_numpy()),
        ],
    )
    as_base64 = by_codec.model_copy(deep=True)
    as_base64.inputs[2] = Base64Codec.encode_input("job", [text.encode() for text in frame["job"]], use_bytes=False)
    requests = {
        "pandas": PandasCodec.encode_request(frame, use_bytes=False),
        "pandas_bytes": PandasCodec.encode_request(frame),
        "pandas_narrow": PandasCodec.encode_request(frame.astype({"age": "int8", "income": "float32"})),
        "pandas_objects": PandasCodec.encode_request(frame.astype({"age": object, "member": object})),
        "by_codec": by_codec,
        "base64": as_base64,
    }
    bodies = {name: each.model_dump_json() for name, each in requests.items()}
    bodies["nulls"] = requests["pandas"].model_dump_json(exclude_none=False, exclude_unset=False)
    numbers = NumpyRequestCodec.encode_request(np.array(wide))
    return {"frame": bodies, "wide": numbers.model_dump_json(), "dated": dated(dates)}


def read(answers):
    """Give what MLServer's types and codecs read in answers, by name."""
    found = {}
    for name, answer in answers.items():
        response = InferenceResponse.model_validate(answer)
        (output,) = response.outputs
        frame = PandasCodec.decode_response(response)
        found[name] = {
            "id": response.id,
            "numpy": NumpyCodec.decode_output(output).tolist(),
            "request": NumpyRequestCodec.decode_response(response).tolist(),
            "pandas": frame[output.name].tolist(),
        }
    return found


asked = json.load(sys.stdin)
if "rows" in asked:
    print(json.dumps(written(asked["rows"], asked["wide"], asked["dates"])))
else:
    MetadataServerResponse.model_validate(asked["server"])
    inputs = MetadataModelResponse.model_validate(asked["model"]).inputs
    print(json.dumps({"answers": read(asked["answers"]), "inputs": [each.name for each in inputs]}))
