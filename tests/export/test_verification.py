import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_norms.export import saved_model, verification

X = np.random.default_rng(0).normal(3, 2, (4, 2, 2, 3)).astype("float32")
SPEC = tf.TensorSpec((None, 2, 2, 3), name="image")
MEAN, VARIANCE = np.array([3.0, 2.0, 1.0], "float32"), np.array([4.0, 2.0, 0.5], "float32")
COUNT = tf.Variable(0.0)


def fused(x, is_training):
    return tf.compat.v1.nn.fused_batch_norm(
        x, scale=VARIANCE, offset=MEAN, mean=MEAN, variance=VARIANCE, is_training=is_training
    )[0]


def counted(x):
    return x + COUNT.assign_add(1.0)


def ordinary(x):
    # Layer norm by hand, whose moments are made of the operations of batch norm.
    mean, variance = tf.nn.moments(x, (1, 2, 3), keepdims=True)
    return fused((x - mean) / tf.sqrt(variance), is_training=False)


WRONG = [
    ("compiled with XLA", tf.function(lambda x: 2 * x, jit_compile=True)),
    ("assigns a variable", counted),
    ("draws random numbers", lambda x: x + tf.random.normal(tf.shape(x))),
    ("draws random numbers", lambda x: x * tf.random.stateless_uniform(tf.shape(x), (1, 2))),
    ("draws random numbers", lambda x: tf.nn.dropout(x, 0.5)),
    ("draws random numbers", lambda x: tf.nn.experimental.stateless_dropout(x, 0.5, (1, 2))),
    ("draws random numbers", tf.random.shuffle),
    ("draws random numbers", lambda x: x * tf.random.get_global_generator().uniform(())),
    ("normalizes by the statistics of the batch", lambda x: fused(x, is_training=True)),
]
PLACES = {
    "the function": lambda f, x: f(x),
    "a function in it": lambda f, x: tf.function(f)(x),
    "a branch": lambda f, x: tf.cond(tf.reduce_sum(x) > 0, lambda: f(x), lambda: x),
    "a case": lambda f, x: tf.switch_case(tf.shape(x)[0] % 2, [lambda: x, lambda: f(x)]),
    "a loop": lambda f, x: tf.while_loop(lambda x: tf.reduce_sum(x) < 9, lambda x: (f(x),), (x,))[0],
}


def saved(folder, function, **others):
    """Saves a function of images as the signature to serve, and others beside it."""
    archive = tf.Module()
    archive.kept = [COUNT, tf.random.get_global_generator().state]
    signatures = {
        name: tf.function(served, input_signature=[SPEC], autograph=False)
        for name, served in {"serving_default": function, **others}.items()
    }
    archive.training = tf.function(lambda x: {"y": counted(x)}, input_signature=[SPEC], autograph=False)
    tf.saved_model.save(archive, folder, signatures=signatures)
    (folder / "assets" / "class_names.txt").write_text("cat\ndog\nfox\n")
    (folder / "assets.extra").mkdir()
    (folder / verification.WARM_UP).write_bytes(b"")
    return folder


def graph_problems(folder):
    return list(verification.graph_problems(*verification.inference_graph(folder)))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("reason", "function"), WRONG)
def test_operation_of_training_is_found_wherever_it_is(reason, function, place, tmp_path):
    (problem,) = graph_problems(saved(tmp_path, lambda x: {"y": PLACES[place](function, x)}))
    assert reason in problem


@pytest.mark.parametrize("kept", ["node", "function"])
def test_mark_of_xla_is_found_on_a_call_and_on_a_function(kept, tmp_path):
    folder = saved(tmp_path, lambda x: {"y": tf.function(lambda x: 2 * x, jit_compile=True)(x)})
    graph, outputs = verification.inference_graph(folder)
    for function in graph.library.function:
        for marked in [function] if kept == "node" else function.node_def:
            marked.attr.pop("_XlaMustCompile", None)
    assert len(list(verification.graph_problems(graph, outputs))) == 1


def test_operation_that_must_only_have_run_is_found():
    with tf.Graph().as_default() as graph:
        with tf.control_dependencies([tf.random.normal((2,), name="drawn")]):
            wanted = tf.constant(1.0, name="wanted")
        tf.random.normal((2,), name="not_wanted")
    (problem,) = verification.graph_problems(graph.as_graph_def(), [wanted.name])
    assert "1, the first is 'drawn" in problem


@pytest.mark.parametrize("place", PLACES)
def test_operations_of_inference_pass(place, tmp_path):
    assert graph_problems(saved(tmp_path, lambda x: {"y": PLACES[place](ordinary, x)})) == []


def test_every_signature_is_searched_and_what_none_computes_may_train(tmp_path):
    (problem,) = graph_problems(saved(tmp_path, lambda x: {"y": ordinary(x)}, other=lambda x: {"y": counted(x)}))
    assert "assigns a variable" in problem


def probabilities(x):
    return tf.nn.softmax(tf.reduce_mean(x, (1, 2)))


def outputs(probabilities):
    return {"probabilities": probabilities, "class_id": tf.argmax(probabilities, -1)}


def value_problems(folder, function):
    folder = saved(folder, function)
    return list(verification.value_problems(folder, X, probabilities(X).numpy(), tolerance=1e-4))


def test_values_of_the_model_pass(tmp_path):
    assert value_problems(tmp_path, lambda x: outputs(probabilities(x))) == []


@pytest.mark.parametrize(("change", "passes"), [(0.9e-4, True), (1.1e-4, False)])
def test_largest_difference_is_measured_by_the_largest_probability(change, passes, tmp_path):
    assert probabilities(X).numpy().max() < 0.8
    found = value_problems(tmp_path, lambda x: outputs(probabilities(x) * (1 + change)))
    assert len(found) == (0 if passes else 2)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: outputs(probabilities(x - 1) * 1.01),
        lambda x: outputs(probabilities(x) * np.float32(np.nan)),
        lambda x: outputs(probabilities(x) + np.float32(np.inf)),
        lambda x: outputs(tf.reverse(probabilities(x), [1])),
    ],
)
def test_other_probabilities_are_found(function, tmp_path):
    assert [line.split(" must")[0] for line in value_problems(tmp_path, function)] == [
        "The images",
        "The first image alone",
    ]


def test_batch_statistics_by_hand_are_found_by_an_image_alone(tmp_path):
    mean = X.mean(0)

    def function(x):
        # On the batch that it is compared with it is right.
        return outputs(probabilities(x - tf.reduce_mean(x, 0) + mean))

    (problem,) = value_problems(tmp_path, function)
    assert problem.startswith("The first image alone must get the probabilities of the model.")


def test_wrong_class_is_found(tmp_path):
    def function(x):
        return {"probabilities": probabilities(x), "class_id": tf.argmin(probabilities(x), -1)}

    together, alone = value_problems(tmp_path, function)
    assert "class_id" in together
    assert "class_id" in alone


@pytest.mark.parametrize("key", ["class_name", "top_5"])
def test_wrong_names_are_found(key, tmp_path):
    def function(x):
        names = tf.gather(["cat", "dog", "fox"], tf.argsort(-probabilities(x)))
        right = {"class_name": names[:, 0], "top_5": names}
        return {**outputs(probabilities(x)), **right, key: tf.reverse(right[key], [0])}

    (problem, *_) = value_problems(tmp_path, function)
    assert f"as `{key}`" in problem


def test_request_of_the_warm_up_that_fails_is_found(tmp_path):
    folder = saved(tmp_path, lambda x: outputs(probabilities(x)))
    request = prediction_log_pb2.PredictionLog()
    request.predict_log.request.model_spec.signature_name = "serving_default"
    request.predict_log.request.inputs["picture"].CopyFrom(tf.make_tensor_proto(X))
    with tf.io.TFRecordWriter(str(folder / verification.WARM_UP)) as writer:
        writer.write(request.SerializeToString())
    (problem,) = verification.value_problems(folder, X, probabilities(X).numpy(), tolerance=1e-4)
    assert problem.startswith("It must load and run.")


def test_what_fails_when_it_runs_is_one_line(tmp_path):
    def function(x):
        with tf.control_dependencies([tf.debugging.assert_less(x, -1e9)]):
            return outputs(probabilities(x))

    (problem,) = value_problems(tmp_path, function)
    assert problem.startswith("It must load and run. InvalidArgumentError")
    assert "\n" not in problem


@pytest.mark.parametrize("package", ["keras", "keras_norms"])
def test_process_that_has_keras_is_refused(package, tmp_path):
    # Python runs sitecustomize before anything else. A package in its folder takes the place of the real one.
    (tmp_path / "sitecustomize.py").write_text(f"import {package}\n")
    (tmp_path / f"{package}.py").write_text("")
    folder = saved(tmp_path / "saved_model", lambda x: outputs(probabilities(x)))
    np.savez(tmp_path / "examples.npz", images=X, probabilities=probabilities(X), tolerance=1e-4)
    result = subprocess.run(
        [sys.executable, "-P", saved_model.CHECKS["verification.py"], folder, tmp_path / "examples.npz"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert result.stdout == f"It must be loaded and run without {package}, which was imported.\n"
    assert result.returncode == 1
