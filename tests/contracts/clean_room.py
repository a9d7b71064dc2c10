"""Load packages where there is nothing but ekiben, and answer: as they are, and through the data plane as JSON.

Started as `python -I clean_room.py <where ekiben is> <folder of packages> <file to write>`.
"""

import json
import pickle
import sys
import time
from pathlib import Path


def main(home, folder, out):
    sys.path.insert(0, home)
    answers = {path.name: answered(path) for path in sorted(Path(folder).iterdir())}
    Path(out).write_bytes(pickle.dumps(answers))


def answered(path):
    import ekiben as ek
    from ekiben import protocol, tables

    began = time.perf_counter()
    package = ek.load(path)
    seconds = time.perf_counter() - began
    plane = alone(package)
    body = json.dumps({"rows": tables.as_rows(package.sample)}).encode()
    answer = plane(body)
    served = (
        [protocol.flat(each) for each in json.loads(answer.body)["predictions"]]
        if answer.status == 200
        else answer.body
    )
    return {
        "own": package.predict(package.sample, compiled=False),
        "predicted": package.predict(package.sample),
        "served": served,
        "load_s": seconds,
    }


def alone(package):
    """Make a data plane of one arm."""
    from ekiben import routing
    from ekiben.dataplane import DataPlane, Hooks
    from ekiben.dialects import Request
    from ekiben.pinning import Contract
    from ekiben.spec import ServiceSpec

    spec = ServiceSpec(name="alone", arms={"only": package.ref}, route=routing.only("only"))
    example = package.examples[0]
    promised = Contract(signature=package.signature, pins={}, row=example["row"], answer=example["answer"])
    plane = DataPlane(spec, promised, {"only": package}, Hooks(), lambda *_: None)
    return lambda body: plane.predict(Request(body=body))


if __name__ == "__main__":
    main(*sys.argv[1:])
