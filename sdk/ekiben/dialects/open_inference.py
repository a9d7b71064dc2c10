"""The Open Inference Protocol, version 2, as KServe, Triton and MLServer speak it over HTTP."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from ekiben import codecs
from ekiben.dialects import JSON, Answer, Read, Request, Routed, bounded, media_type, unsupported
from ekiben.dialects.tensors import DTYPES, LENGTH, Tensor, shape, values
from ekiben.errors import SchemaError
from ekiben.pinning import Contract
from ekiben.schema import Column, Output
from ekiben.spec import ServiceSpec

BINARY = "application/octet-stream"
HEADER_LENGTH = "inference-header-content-length"
LONGEST_ID = 256  # characters of a request's own id, which is sent back
# What MLServer's clients call the outputs of a classifier or a regressor.
ALIASES = {"predict": ("label", "value"), "predict_proba": ("scores",)}


class Wanted(msgspec.Struct):
    """One output that a request asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class Body(msgspec.Struct):
    """A request to infer; what may be left out may be null too."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[Wanted] | None = None


@dataclass(frozen=True, slots=True)
class Wants:
    """What a request wants of its answer: its own id, the outputs by name (none for all), and which come as bytes."""

    id: str
    outputs: tuple[str, ...]
    binary: Mapping[str, bool]
    all_binary: bool


class OpenInference:
    """The bodies of `/v2/models/{name}/infer`, in JSON and with the binary tensor data extension.

    A column is a tensor of its name, of shape `[n_rows]` or `[n_rows, 1]`; a column of lists has shape `[n_rows, length]`.
    Where there is one tensor of shape `[n_rows, n_columns]`, it holds all columns in the contract's order, whatever its name;
    of one column its shape may be `[n_rows]`.

    Parameters
    ----------
    spec, contract
        What is served, and what was promised.
    """

    def __init__(self, spec: ServiceSpec, contract: Contract) -> None:
        self._name, self._inputs, self._max_rows = spec.name, contract.signature.inputs, spec.limits.max_rows
        self._known = {column.name: column for column in self._inputs.columns}
        self._outputs = contract.signature.outputs
        self._unit = spec.unit.name if spec.unit and spec.unit.source == "field" else None
        self._tensors = [tensor.name for output in self._outputs for tensor in _described(output)]

    def read(self, request: Request) -> Read:
        """Read the tensors of a request as columns."""
        header, binary = self._parts(request)
        body = _body(header)
        tensors = self._by_name(body, binary)
        columns, parameters = self._columns(tensors), body.parameters or {}
        units = [parameters[self._unit]] if self._unit in parameters else []
        if self._unit is not None and self._unit not in self._inputs.names and self._unit in columns:
            units += columns.pop(self._unit)
        elif self._unit in self._inputs.names and not units:
            units = list(columns.get(str(self._unit), ()))
        return Read(
            columns=codecs.held(columns, self._inputs),
            units=units,
            body={"id": body.id or "", "parameters": parameters},
            wants=self._wants(body),
        )

    def write(self, routed: Routed, predictions: list[dict[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
        """Write predictions as tensors."""
        wants: Wants = routed.wants
        tensors = {tensor.name: tensor for tensor in self._made(predictions)}
        named = self._asked_for(wants.outputs) if wants.outputs else {name: name for name in tensors}
        outputs, tail = [], b""
        for name, of in named.items():
            if of not in tensors:
                continue
            told, data = tensors[of].told(name, as_bytes=wants.binary.get(name, wants.all_binary))
            outputs.append(told)
            tail += data
        document = {
            "model_name": self._name,
            "model_version": routed.choice.arm,
            "id": wants.id or routed.id,
            "parameters": {"arm": routed.choice.arm, "model": routed.model},
            "outputs": outputs,
        }
        head = codecs.encode(document)
        if not tail:
            return head, {"content-type": JSON}
        return head + tail, {"content-type": BINARY, HEADER_LENGTH: str(len(head))}

    def refused(self, answer: Answer) -> Answer:
        """Spell a refusal as the protocol's clients read it: `error` is a text."""
        return as_error(answer)

    def metadata(self) -> dict[str, Any]:
        """Describe the model: what `GET /v2/models/{name}` shows."""
        return {
            "name": self._name,
            "platform": "ekiben",
            "inputs": [_input(column) for column in self._inputs.columns],
            "outputs": [tensor.described() for output in self._outputs for tensor in _described(output)],
        }

    # ── a request ──

    def _parts(self, request: Request) -> tuple[bytes, memoryview]:
        """Part the JSON from the binary data behind it."""
        length = request.headers.get(HEADER_LENGTH)
        if length is None:
            if media_type(request) not in (JSON, BINARY):
                raise unsupported(JSON, BINARY)
            return request.body, memoryview(b"")
        if not length.isascii() or not length.isdigit() or len(length) > 12 or int(length) > len(request.body):
            raise SchemaError(f"{HEADER_LENGTH} must be how many bytes of the body are JSON. Got something else.")
        return request.body[: int(length)], memoryview(request.body)[int(length) :]

    def _by_name(self, body: Body, binary: memoryview) -> dict[str, _Values]:
        if not body.inputs:
            raise SchemaError("`inputs` must hold at least one tensor. Got none.")
        tensors: dict[str, _Values] = {}
        start = 0
        for number, tensor in enumerate(body.inputs):
            size = tensor.told("binary_data_size")
            if size is not None and (type(size) is not int or not 0 <= size <= len(binary) - start):
                raise SchemaError(f"`binary_data_size` must be how many bytes a tensor has. Input {number} has others.")
            data = None if size is None else binary[start : start + size]
            start += size or 0
            if tensor.name in tensors:
                raise SchemaError(f"Each input must have a name of its own. Input {number} has another's.")
            tensors[tensor.name] = _Values(shape=shape(tensor, number), values=values(tensor, data, number))
        if start != len(binary):
            raise SchemaError("The body must hold the bytes of its tensors and no more. Got more.")
        return tensors

    def _columns(self, tensors: Mapping[str, _Values]) -> dict[str, list[Any]]:
        """Give columns of the same length."""
        names = self._inputs.names
        if len(tensors) == 1:
            ((name, only),) = tensors.items()
            width = only.shape[1] if len(only.shape) == 2 else 1
            wide = len(only.shape) < 3 and width == len(names) and name != self._unit
            if wide and (len(names) > 1 or name not in {*names, *self._inputs.aliases}):
                bounded(only.shape[0], self._max_rows)
                return {column: only.values[i :: len(names)] for i, column in enumerate(names)}
        sizes = {tensor.shape[0] for tensor in tensors.values()}
        if len(sizes) != 1:
            raise SchemaError("Every input must have as many rows as the others. They differ.")
        bounded(sizes.pop(), self._max_rows)
        of = self._inputs.aliases
        return {name: self._column(of.get(name, name), tensor) for name, tensor in tensors.items()}

    def _column(self, name: str, tensor: _Values) -> list[Any]:
        n_rows, *rest = tensor.shape
        column = self._known.get(name)
        length = math.prod(rest)
        if column is not None and column.kind == "list" and not (length == 1 and _hold_lists(tensor.values)):
            return [tensor.values[i * length : (i + 1) * length] for i in range(n_rows)]
        if length != 1:
            shown = repr(name) if column is not None else "that is not in the contract"
            raise SchemaError(f"The input {shown} must have one value a row: the shape [n_rows]. Got more.")
        return tensor.values

    def _wants(self, body: Body) -> Wants:
        asked = {wanted.name: wanted.parameters or {} for wanted in body.outputs or ()}
        self._asked_for(tuple(asked))
        binary = {name: bool(told["binary_data"]) for name, told in asked.items() if "binary_data" in told}
        own = body.id[:LONGEST_ID] if body.id and body.id.isprintable() else ""
        return Wants(own, tuple(asked), binary, bool((body.parameters or {}).get("binary_data_output", False)))

    def _asked_for(self, names: Sequence[str]) -> dict[str, str]:
        """Give for each output that is asked for the tensor that it is."""
        made = {}
        for number, name in enumerate(names):
            either = [each for each in ALIASES.get(name, ()) if each in self._tensors]
            found = name if name in self._tensors else next(iter(either), None)
            if found is None:
                has = ", ".join(self._tensors)
                raise SchemaError(f"Each output must be one of {has}. Output {number} is another.")
            made[name] = found
        return made

    # ── an answer ──

    def _made(self, predictions: list[dict[str, Any]]) -> Iterator[_Output]:
        for output in self._outputs:
            told = [each[output.name] for each in predictions] if output.name else predictions
            for tensor in _described(output):
                if any(tensor.part not in each for each in told):
                    continue  # the service's own `postprocess` leaves it out
                values = [each[tensor.part] for each in told]
                tensor.values = [list(each.values()) for each in values] if tensor.part == "scores" else values
                yield tensor


@dataclass(slots=True)
class _Values:
    """A tensor that came: its shape, and its values in row-major order, None where one is missing."""

    shape: list[int]
    values: list[Any]


class _Output:
    """A tensor that is sent: its values by row, each a list of scores or one value."""

    def __init__(self, name: str, part: str, labels: Sequence[Any]) -> None:
        self.name, self.part, self.labels = name, part, [str(label) for label in labels]
        self._datatype = "FP64" if part != "label" or not labels else _datatype(labels)
        self.values: list[Any] = []

    def described(self) -> dict[str, Any]:
        """Give its metadata."""
        told = {"name": self.name, "datatype": self._datatype, "shape": [-1, *self._width]}
        return {**told, "parameters": {"labels": self.labels}} if self.part == "scores" else told

    @property
    def _width(self) -> list[int]:
        return [len(self.labels)] if self.part == "scores" else []

    def told(self, name: str, *, as_bytes: bool) -> tuple[dict[str, Any], bytes]:
        """Give its entry in the answer, and the bytes behind it."""
        datatype = self._datatype if self.part != "label" else _datatype(self.values)
        told = {"name": name, "datatype": datatype, "shape": [len(self.values), *self._width]}
        parameters: dict[str, Any] = {"labels": self.labels} if self.part == "scores" else {}
        flat = [each for row in self.values for each in row] if self.part == "scores" else self.values
        if not as_bytes:
            return {**told, **({"parameters": parameters} if parameters else {}), "data": flat}, b""
        data = _as_bytes(flat, datatype)
        return {**told, "parameters": {**parameters, "binary_data_size": len(data)}}, data


def _described(output: Output) -> list[_Output]:
    """Name the tensors of an output: its parts, behind its own name where there are several outputs."""
    head = f"{output.name}." if output.name else ""
    return [_Output(f"{head}{part}", part, output.classes) for part in output.parts]


def _input(column: Column) -> dict[str, Any]:
    kinds = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
    kind = column.items if column.kind == "list" else column.kind
    datatype = _datatype(column.categories or ("",)) if kind == "category" else kinds.get(str(kind), "BYTES")
    shape = [-1, column.length] if column.kind == "list" else [-1]
    return {"name": column.name, "datatype": datatype, "shape": shape}


def _datatype(values: Sequence[Any]) -> str:
    """Give the datatype that holds some labels."""
    kinds = {*map(type, values)}
    for kind, name in ((bool, "BOOL"), (int, "INT64"), (float, "FP64")):
        if kinds <= {kind}:
            return name
    return "FP64" if kinds <= {int, float} else "BYTES"


def _as_bytes(values: Sequence[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(LENGTH.pack(len(text)) + text for text in texts)
    made = np.array(values, dtype=DTYPES[datatype])
    if datatype == "FP64" and not np.isfinite(made).all():
        raise SchemaError("An answer must hold finite numbers. Got one that is not.")
    return made.tobytes()


_decode = msgspec.json.Decoder(Body).decode


def _body(header: bytes) -> Body:
    """Read the JSON of a request, or say what in it is none of the protocol's."""
    try:
        return msgspec.convert(codecs.decode_with_nan(header), Body) if b"NaN" in header else _decode(header)
    except msgspec.ValidationError as reason:
        raise SchemaError(f"The body must be a request of the Open Inference Protocol. {reason}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        codecs.decode(header)  # where it is no JSON at all, its own words say more
        raise SchemaError("The body must be a request of the Open Inference Protocol. Got something else.") from None


def _hold_lists(found: list[Any]) -> bool:
    """Tell values of which each is a list already, as those that MLServer's frames write."""
    return all(value is None or isinstance(value, list) for value in found)


def as_error(answer: Answer) -> Answer:
    """Spell a refusal in ekiben's own shape as one text."""
    return replace(answer, body=codecs.encode({"error": codecs.decode(answer.body)["error"]["message"]}))
