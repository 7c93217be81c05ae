"""Requests that TensorFlow Serving replays before a version answers: `tf_serving_warmup_requests`.

One for each signature and allowed batch size. A wrong one would keep a server from loading the version, so that they
are replayed when it is verified.
"""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

from keras_norms.export import batching, signatures

FILE = "assets.extra/tf_serving_warmup_requests"
_GREY = 127.5


def write(version, name, image):
    """Writes the file into the folder of a version.

    Args:
        version: Path.
        name: String, the name of the model.
        image: Array of shape `(height, width, channels)`, pixels from 0 to 255, for the signatures that take files.
    """
    path = version / FILE
    path.parent.mkdir(exist_ok=True)
    file = None
    if image.shape[-1] in signatures.CHANNELS:
        file = tf.io.encode_png(np.clip(np.round(image), 0, 255).astype("uint8")).numpy()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in batching.SIZES:
            for request in _requests(name, image.shape, file, size):
                writer.write(request.SerializeToString())


def _requests(name, image_shape, file, size):
    # One value stands for all: a few bytes, whatever the batch.
    grey = tf.make_tensor_proto(_GREY, tf.float32, (size, *image_shape))
    yield _predict(name, signatures.SERVING_DEFAULT, "image", grey)
    if file is not None:
        yield _predict(name, signatures.IMAGE_BYTES, "image_bytes", tf.make_tensor_proto([file] * size))
        yield _classify(name, file, size)


def _predict(name, signature, key, tensor):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    request.inputs[key].CopyFrom(tensor)
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def _classify(name, file, size):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signatures.CLASSIFY
    for _ in range(size):
        example = request.input.example_list.examples.add()
        example.features.feature[signatures.ENCODED].bytes_list.value.append(file)
    return prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=request))
