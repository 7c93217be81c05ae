"""The JSON of the REST API, by the rules of tensorflow_serving/util/json_tensor.cc (TensorFlow Serving 2.20)."""

import base64
import json

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2

from tests.serving.core import StatusError


def predict_request(body, signature_of):
    """Returns a `PredictRequest` without model, and whether it is in the form of rows.

    Args:
        body: Bytes.
        signature_of: Function from the name of a signature to its `SignatureDef`, raises where there is none.
    """
    document = _object(body)
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = _signature_name(document)
    inputs = signature_of(request.model_spec.signature_name).inputs
    if ("instances" in document) == ("inputs" in document):
        raise _invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    rows = "instances" in document
    columns = _columns_of_rows(document["instances"], inputs) if rows else _columns(document["inputs"], inputs)
    for name, values in columns.items():
        request.inputs[name].CopyFrom(_tensor(values, inputs[name].dtype))
    return request, rows


def predict_reply(response, rows):
    """Returns the body of a reply."""
    arrays = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    columns = {name: _json_values(array, name.endswith("_bytes")) for name, array in sorted(arrays.items())}
    if not rows:
        return _written({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})
    if len({len(values) for values in columns.values()}) != 1:
        raise _invalid("has inconsistent batch size")
    of_rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _written({"predictions": of_rows if len(columns) > 1 else [next(iter(row.values())) for row in of_rows]})


def classify_request(body):
    document = _object(body)
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = _signature_name(document)
    if not isinstance(document.get("examples"), list) or not document["examples"]:
        raise _invalid("Expecting 'examples' value to be an list/array")
    for example in document["examples"]:
        features = request.input.example_list.examples.add().features
        for name, content in example.items():
            for value in content if isinstance(content, list) else [content]:
                _add(features.feature[name], value)
    return request


def classify_reply(response):
    return _written(
        {
            "results": [
                [[found.label, float(str(np.float32(found.score)))] for found in row.classes]
                for row in response.result.classifications
            ]
        }
    )


def _object(body):
    try:
        document = json.loads(body)
    except ValueError as error:
        raise _invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise _invalid("Is not object")
    return document


def _signature_name(document):
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _invalid("'signature_name' key must be a string value.")
    return name


def _columns_of_rows(instances, inputs):
    if not isinstance(instances, list) or not instances:
        raise _invalid("Excepting 'instances' to be an list/array")
    named = isinstance(instances[0], dict) and not _is_base64(instances[0])
    if not named:
        if len(inputs) > 1:
            raise _invalid("instances is a plain list, but expecting list of objects")
        instances = [{next(iter(inputs)): value} for value in instances]
    for row in instances:
        if set(row) != set(inputs):
            raise _invalid(f"keys must be equal to: {','.join(inputs)}")
    return {name: [row[name] for row in instances] for name in inputs}


def _columns(values, inputs):
    if not isinstance(values, dict) or _is_base64(values):
        if len(inputs) > 1:
            raise _invalid("inputs is a plain value/list, but expecting an object")
        return {next(iter(inputs)): values}
    for name in inputs:
        if name not in values:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: values[name] for name in inputs}


def _tensor(values, dtype):
    def leaf(value):
        if isinstance(value, list):
            return [leaf(one) for one in value]
        if dtype == tf.string.as_datatype_enum:
            if _is_base64(value):
                return _decoded(value)
            if isinstance(value, str):
                return value.encode()
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        raise _invalid(f"JSON Value: {value} is not of expected type: {dtype}")

    try:
        return tf.make_tensor_proto(leaf(values), dtype)
    except ValueError as error:  # of uneven lists
        raise _invalid("Encountered list at unexpected size") from error


def _add(feature, value):
    if _is_base64(value) or isinstance(value, str):
        feature.bytes_list.value.append(_decoded(value) if isinstance(value, dict) else value.encode())
    elif isinstance(value, float):
        feature.float_list.value.append(value)
    elif isinstance(value, int):
        feature.int64_list.value.append(value)
    else:
        raise _invalid("has element with unexpected JSON type")


def _is_base64(value):
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _decoded(value):
    try:
        return base64.b64decode(value["b64"], validate=True)
    except ValueError as error:
        raise _invalid("Unable to base64 decode") from error


def _json_values(values, as_bytes):
    if isinstance(values, np.ndarray):
        return [_json_values(row, as_bytes) for row in values]
    if isinstance(values, bytes):
        return {"b64": base64.b64encode(values).decode()} if as_bytes else values.decode()
    # As few digits as tell a float32 apart.
    return float(str(values)) if isinstance(values, np.float32) else values.item()


def _written(document):
    # Python writes NaN and Infinity as the server does, which is not JSON.
    return json.dumps(document, indent=4, ensure_ascii=False).encode()


def _invalid(message):
    return StatusError("INVALID_ARGUMENT", message)
