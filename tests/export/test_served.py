"""An exported version behind the APIs of TensorFlow Serving, and what it answers to drivers/query.py's clients."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_norms.export import clients
from tests.export.conftest import CLASS_NAMES, probabilities
from tests.serving import core, stubs


@pytest.fixture(scope="module")
def served(version):
    return core.Core({"tiny": {1: core.Version(version)}})


@pytest.mark.parametrize("signature", clients.SIGNATURES)
@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_files_get_the_probabilities_of_the_model(served, model, pixels, api, signature):
    start = stubs.rest if api == "rest" else stubs.grpc_server
    files = [tf.io.encode_png(image).numpy() for image in pixels]
    target, patience = clients.Target("tiny", signature=signature), clients.Patience(60, 0)
    with start(served) as address, clients.connect(api, clients.Server(address), target, patience) as client:
        answers = client.ask(files)
    expected = probabilities(model, pixels.astype("float32"))
    for answer, row in zip(answers, expected, strict=True):
        assert answer.classes == tuple(CLASS_NAMES[index] for index in np.argsort(-row))
        np.testing.assert_allclose(answer.scores, np.sort(row)[::-1], rtol=1e-4)


def test_warm_up_requests_are_answered(served, version):
    records = tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests"))
    logs = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in records]
    sizes = {"serving_default": [], "image_bytes": [], "classify": []}
    for log in logs:
        if log.HasField("predict_log"):
            request, ask = log.predict_log.request, served.predict
        else:
            request, ask = log.classify_log.request, served.classify
        ask(request)
        sizes[request.model_spec.signature_name].append(served.asked[-1])
    assert all(sorted(found) == [1, 8, 32] for found in sizes.values())
