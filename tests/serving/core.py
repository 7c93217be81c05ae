"""What TensorFlow Serving does between its APIs and a SavedModel, as its sources (2.20) have it.

It runs SavedModels behind the stub servers. What is named here is under tensorflow_serving/.
"""

import collections
import dataclasses
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)


class StatusError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class Version:
    """One version of a model: a SavedModel, or nothing yet."""

    def __init__(self, folder=None, state="AVAILABLE", problem=""):
        self.state, self.problem = state, problem
        if folder is not None:
            self._loaded = tf.saved_model.load(folder)
            self.functions = self._loaded.signatures
            parsed = saved_model_pb2.SavedModel.FromString(pathlib.Path(folder, "saved_model.pb").read_bytes())
            self.signature_defs = parsed.meta_graphs[0].signature_def


@dataclasses.dataclass
class Core:
    """A server without a network.

    Args:
        models: Dict from names to dicts from version numbers to `Version`.
        labels: Dict from (name, label) to version numbers.
        failures: `StatusError`s that the next requests for answers get.
        asked: How many images each request for answers had, also those that failed in the model.
    """

    models: dict
    labels: dict = dataclasses.field(default_factory=dict)
    failures: collections.deque = dataclasses.field(default_factory=collections.deque)
    asked: list = dataclasses.field(default_factory=list)

    def find(self, spec):
        """model_servers/server_core.cc and core/basic_manager.cc"""
        if spec.version_label:
            if (spec.name, spec.version_label) not in self.labels:
                raise StatusError("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
            wanted = self.labels[spec.name, spec.version_label]
        else:
            wanted = spec.version.value if spec.HasField("version") else None
        versions = self.models.get(spec.name, {})
        served = [number for number, version in versions.items() if version.state == "AVAILABLE"]
        number = max(served, default=None) if wanted is None else wanted
        if number not in served:
            request = f"Latest({spec.name})" if wanted is None else f"Specific({spec.name}, {wanted})"
            raise StatusError("NOT_FOUND", f"Servable not found for request: {request}")
        return number, versions[number]

    def predict(self, request):
        """servables/tensorflow/predict_util.cc"""
        self._fail()
        number, version = self.find(request.model_spec)
        name = request.model_spec.signature_name or "serving_default"
        if name not in version.signature_defs:
            raise StatusError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        expected = version.signature_defs[name].inputs
        if set(request.inputs) != set(expected):
            raise StatusError("INVALID_ARGUMENT", f"input must be {set(expected)}, sent {set(request.inputs)}")
        for key, tensor in request.inputs.items():
            if tensor.dtype != expected[key].dtype:
                raise StatusError("INVALID_ARGUMENT", f"dtype of input {key!r}")
        arrays = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
        self.asked.append(len(next(iter(arrays.values()))))
        outputs = self._run(version.functions[name], arrays)
        response = predict_pb2.PredictResponse()
        self._tell(response.model_spec, request.model_spec.name, name, number)
        for key in version.signature_defs[name].outputs:
            response.outputs[key].CopyFrom(as_proto_field(outputs[key]))
        return response

    def classify(self, request):
        """servables/tensorflow/classifier.cc"""
        self._fail()
        number, version = self.find(request.model_spec)
        name = request.model_spec.signature_name or "serving_default"
        if name not in version.signature_defs:
            raise StatusError("INVALID_ARGUMENT", f"No signature was found with the name {name}")
        signature = version.signature_defs[name]
        if set(signature.inputs) != {"inputs"} or not set(signature.outputs) <= {"classes", "scores"}:
            raise StatusError("INVALID_ARGUMENT", "Expected one input and classes, scores")
        examples = [example.SerializeToString() for example in request.input.example_list.examples]
        self.asked.append(len(examples))
        outputs = self._run(version.functions[name], {"inputs": np.array(examples, object)})
        if not outputs["classes"].ndim == outputs["scores"].ndim == 2:
            raise StatusError("INVALID_ARGUMENT", "Expected shape [batch_size num_classes]")
        response = classification_pb2.ClassificationResponse()
        self._tell(response.model_spec, request.model_spec.name, name, number)
        for classes, scores in zip(outputs["classes"], outputs["scores"], strict=True):
            row = response.result.classifications.add()
            for label, score in zip(classes, scores, strict=True):
                row.classes.add(label=label, score=score)
        return response

    def status(self, request):
        """model_servers/get_model_status_impl.cc"""
        versions = self.models.get(request.model_spec.name)
        if not versions:
            raise StatusError("NOT_FOUND", f"Could not find any versions of model {request.model_spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, version in sorted(versions.items(), reverse=True):
            found = response.model_version_status.add(version=number)
            found.state = found.State.Value(version.state)
            found.status.error_message = version.problem
            found.status.error_code = 2 if version.problem else 0
        return response

    def metadata(self, request):
        """servables/tensorflow/get_model_metadata_impl.cc"""
        if list(request.metadata_field) != ["signature_def"]:
            raise StatusError("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
        number, version = self.find(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        self._tell(response.model_spec, request.model_spec.name, "", number)
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.signature_defs.items():
            found.signature_def[name].CopyFrom(signature)
        response.metadata["signature_def"].Pack(found)
        return response

    def _fail(self):
        if self.failures:
            raise self.failures.popleft()

    def _run(self, function, arrays):
        try:
            outputs = function(**{key: tf.constant(array) for key, array in arrays.items()})
        except tf.errors.OpError as error:
            codes = {value: name for name, value in vars(tf.errors).items() if name.isupper()}
            # What Python's runtime puts around the message of the kernel, a session does not.
            message = error.message.rpartition("<stack traces unavailable>\n")[2].partition(" [Op:")[0]
            raise StatusError(codes[error.error_code], message) from error
        return {key: value.numpy() for key, value in outputs.items()}

    def _tell(self, spec, name, signature, number):
        spec.name, spec.signature_name, spec.version.value = name, signature, number


def as_proto_field(values):
    """Returns a `TensorProto` with one field for each value, as the server writes it; TensorFlow itself packs them."""
    packed = tf.make_tensor_proto(values)
    field = {tf.float32: "float_val", tf.int64: "int64_val", tf.string: "string_val"}[tf.as_dtype(packed.dtype)]
    tensor = type(packed)(dtype=packed.dtype, tensor_shape=packed.tensor_shape)
    getattr(tensor, field).extend(values.ravel().tolist())
    return tensor
