"""TensorFlow Serving's gRPC API."""

import array
import json
import math
import pathlib
import sys

import grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_norms.export.clients import refusals
from keras_norms.export.clients.answers import Answer, most_probable
from keras_norms.export.clients.refusals import ServingError, StatusError


class Client:
    """Asks over gRPC. See `asking.connect`."""

    def __init__(self, server, target, patience):
        self.server, self.target, self._patience = server, target, patience
        self._channel = _channel(server, patience.retries)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()

    def ask(self, files):
        """Returns an `Answer` for each image.

        Args:
            files: Sequence of the bytes of image files.

        Raises:
            RefusedError: The server refuses an image.
            ServingError: Anything else.
        """
        try:
            answers = self._classify(files) if self.target.signature == "classify" else self._predict(files)
        except StatusError as error:
            raise refusals.explained(self, error) from error
        if len(answers) != len(files):
            raise refusals.unexpected(self.server, f"{len(answers)} answers for {len(files)} images")
        return answers

    def versions(self):
        """Returns a triple for each version of the model: its number, its state, and what is wrong with it."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.target.model
        reply = self._call(self._models.GetModelStatus, request)
        states = get_model_status_pb2.ModelVersionStatus.State
        return [
            (found.version, states.Name(found.state), found.status.error_message)
            for found in reply.model_version_status
        ]

    def signatures(self):
        """Returns the names of the model's signatures."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        reply = self._call(self._predictions.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(found)
        return set(found.signature_def)

    def _predict(self, files):
        request = predict_pb2.PredictRequest()
        self._address(request.model_spec, self.target.signature)
        tensor = request.inputs["image_bytes"]
        tensor.dtype = types_pb2.DT_STRING
        tensor.tensor_shape.dim.add(size=len(files))
        tensor.string_val.extend(files)
        reply = self._call(self._predictions.Predict, request)
        missing = {"probabilities", "top_5"} - set(reply.outputs)
        if missing:
            raise refusals.unexpected(self.server, f"no output {', '.join(sorted(missing))}")
        names = _rows(reply.outputs["top_5"], self.server)
        probabilities = _rows(reply.outputs["probabilities"], self.server)
        version = reply.model_spec.version.value
        return [most_probable(*row, version) for row in zip(names, probabilities, strict=True)]

    def _classify(self, files):
        request = classification_pb2.ClassificationRequest()
        self._address(request.model_spec, self.target.signature)
        for file in files:
            example = request.input.example_list.examples.add()
            example.features.feature["image/encoded"].bytes_list.value.append(file)
        reply = self._call(self._predictions.Classify, request)
        return [
            Answer(
                tuple(found.label for found in row.classes),
                tuple(found.score for found in row.classes),
                reply.model_spec.version.value,
            )
            for row in reply.result.classifications
        ]

    def _address(self, model_spec, signature=""):
        model_spec.name, model_spec.signature_name = self.target.model, signature
        if self.target.version is not None:
            model_spec.version.value = self.target.version
        if self.target.label is not None:
            model_spec.version_label = self.target.label

    def _call(self, method, request):
        try:
            return method(request, timeout=self._patience.timeout)
        except grpc.RpcError as error:
            raise self._unanswered(error.code().name, error.details() or "") from error

    def _unanswered(self, code, details):
        """Returns the exception for a call that failed."""
        address = self.server.address
        if code == "DEADLINE_EXCEEDED":
            return ServingError(f"The server {address} does not answer within {self._patience.timeout:g} seconds.")
        if code == "UNIMPLEMENTED":
            return ServingError(f"{address} is a gRPC server, but not TensorFlow Serving: {details}.")
        if code == "UNAVAILABLE" and ("HTTP/2" in details or "http1" in details):
            return ServingError(f"The server {address} does not speak gRPC. Is this its REST port, in place of gRPC's?")
        if code == "UNAVAILABLE" and ("connect" in details or "resolving" in details):
            reason = details.rpartition("remote host: ")[2]
            return ServingError(
                f"There is no connection to {address}: {reason}. Is the server running, with this gRPC port?"
            )
        return StatusError(code, details)


def _channel(server, retries):
    options = [
        ("grpc.max_receive_message_length", -1),
        # To try again means to connect again: by itself gRPC would first wait for a second.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.enable_retries", int(retries > 0)),
    ]
    if retries:
        policy = {
            "maxAttempts": retries + 1,
            "initialBackoff": "0.5s",
            "backoffMultiplier": 2,
            "maxBackoff": "4s",
            "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
        }
        config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
        options.append(("grpc.service_config", json.dumps(config)))
    if not server.secure:
        return grpc.insecure_channel(server.host_and_port, options=options)
    trusted = pathlib.Path(server.certificate).read_bytes() if server.certificate else None
    return grpc.secure_channel(server.host_and_port, grpc.ssl_channel_credentials(trusted), options=options)


def _rows(tensor, server):
    """Returns a list of the rows of a `TensorProto` of rank 2, strings or float32."""
    sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
    if len(sizes) != 2 or tensor.dtype not in (types_pb2.DT_STRING, types_pb2.DT_FLOAT):
        raise refusals.unexpected(
            server, f"an output of type {types_pb2.DataType.Name(tensor.dtype)} and shape {sizes}"
        )
    values = _values(tensor)
    # As in tf.make_ndarray, what is left out equals the last one.
    values += values[-1:] * (math.prod(sizes) - len(values))
    return [values[first : first + sizes[1]] for first in range(0, len(values), sizes[1])]


def _values(tensor):
    if tensor.dtype == types_pb2.DT_STRING:
        return [value.decode("utf-8", "replace") for value in tensor.string_val]
    if not tensor.tensor_content:
        return list(tensor.float_val)
    values = array.array("f", tensor.tensor_content)
    if sys.byteorder == "big":  # Servers of the other order are not known.
        values.byteswap()
    return values.tolist()
