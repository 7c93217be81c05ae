"""Checks a SavedModel as a stranger would meet it: in a process that has neither Keras nor keras_norms.

It is run by its path, and prints one line: what was found right, or one for each problem (exit status 1).

    python -P verification.py <folder of the SavedModel> <examples.npz>

The examples are `images`, the `probabilities` of the model, and the `tolerance`: how far a served probability may be
from the model's, as a part of the largest.
"""

import pathlib
import re
import sys

if __name__ == "__main__":
    # Importing TensorFlow (2.21) imports Keras where it is installed. It does without where it is not.
    sys.modules.setdefault("keras", None)

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

SIGNATURE = "serving_default"
CLASS_NAMES, WARM_UP = "assets/class_names.txt", "assets.extra/tf_serving_warmup_requests"
_INIT = "__saved_model_init_op"  # it loads the variables, and is no signature to serve
RANDOM = re.compile("Random|Rng|TruncatedNormal|StandardNormal|StatefulUniform|Multinomial|Dropout|SampleDistorted")


def inference_graph(folder):
    """Returns the graph of a SavedModel, and the names of the tensors that its signatures return."""
    saved_model = saved_model_pb2.SavedModel.FromString(pathlib.Path(folder, "saved_model.pb").read_bytes())
    (meta_graph,) = saved_model.meta_graphs
    served = [signature for name, signature in meta_graph.signature_def.items() if name != _INIT]
    return meta_graph.graph_def, [tensor.name for signature in served for tensor in signature.outputs.values()]


def graph_problems(graph, outputs):
    """Yields a line for each kind of operation that does not belong into an inference.

    Batch statistics computed by hand are not searched for: layer and group norm contain the same operations.
    `value_problems` notices them, for an image alone then gives what it does not give beside others.

    Args:
        graph: `GraphDef`.
        outputs: Names of the tensors that are computed.
    """
    nodes, functions = reachable(graph, outputs)
    kinds = {
        "compiled with XLA, which TensorFlow Serving does not run": [
            *(node.name for node in nodes if node.attr["_XlaMustCompile"].b),
            *(function.signature.name for function in functions if function.attr["_XlaMustCompile"].b),
        ],
        "that assigns a variable": [node.name for node in nodes if node.op.startswith("Assign")],
        "that draws random numbers": [node.name for node in nodes if RANDOM.search(node.op)],
        "that normalizes by the statistics of the batch": [
            # What is not written has its default value, and that is True.
            node.name
            for node in nodes
            if "FusedBatchNorm" in node.op and ("is_training" not in node.attr or node.attr["is_training"].b)
        ],
    }
    for kind, names in kinds.items():
        if names:
            yield f"It must have no operation {kind}. It has {len(names)}, the first is {names[0]!r}."


def reachable(graph, outputs):
    """Returns the nodes that tensors are computed by, those of the functions they call too, and these functions."""
    library = {function.signature.name: function for function in graph.library.function}
    nodes = ancestors(graph, outputs)
    functions = {}
    for node in nodes:  # It grows meanwhile.
        for name in called(node):
            if name in library and name not in functions:
                functions[name] = library[name]
                nodes.extend(library[name].node_def)
    return nodes, list(functions.values())


def ancestors(graph, outputs):
    """Returns the nodes of the graph itself that tensors depend on."""
    nodes = {node.name: node for node in graph.node}
    found = {}
    pending = list(outputs)
    while pending:
        # "name", "name:index", or "^name" for what must only have run.
        name = pending.pop().removeprefix("^").partition(":")[0]
        if name not in found:
            found[name] = nodes[name]
            pending.extend(nodes[name].input)
    return list(found.values())


def called(node):
    """Yields the names of the functions that a node calls or hands on, and empty ones for its other attributes."""
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)


def value_problems(folder, images, probabilities, tolerance):
    """Yields a line for each way in which a SavedModel does not serve what the model computes.

    Args:
        folder: Path.
        images: Float32 array of shape `(batch, height, width, channels)`.
        probabilities: Array of shape `(batch, classes)`, those of the model.
        tolerance: Float.
    """
    try:
        loaded = tf.saved_model.load(folder)
        served = served_all_ways(loaded.signatures, images)
        replay(loaded.signatures, pathlib.Path(folder, WARM_UP))
    except Exception as error:  # Whatever TensorFlow raises: the SavedModel does not work.
        reason = str(error).partition("\n")[0]
        yield f"It must load and run. {type(error).__name__}: {reason}"
        return
    class_names = np.array(pathlib.Path(folder, CLASS_NAMES).read_text(encoding="utf-8").splitlines())
    rounded = served.pop("The images in whole pixels", None)
    expected = {"The images": probabilities, "The first image alone": probabilities[:1]}
    for who, answers in served.items():
        yield from differences(who, answers, expected.get(who, rounded), tolerance, class_names)


def served_all_ways(signatures, images):
    """Returns a dict from what is served to the answers, arrays by name: pixels, image files, examples with files."""
    serve = signatures[SIGNATURE]
    served = {"The images": serve(image=images), "The first image alone": serve(image=images[:1])}
    if "image_bytes" in signatures:
        pixels = np.clip(np.round(images), 0, 255).astype("uint8")
        files = [tf.io.encode_png(image).numpy() for image in pixels]
        examples = tf.constant([example(file).SerializeToString() for file in files])
        served["The images in whole pixels"] = serve(image=pixels.astype("float32"))["probabilities"].numpy()
        served["The images as files"] = signatures["image_bytes"](image_bytes=tf.constant(files))
        served["The images in examples"] = signatures["classify"](inputs=examples)
    return served


def example(file):
    """Returns a `tf.train.Example` with an image file."""
    encoded = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))
    return tf.train.Example(features=tf.train.Features(feature={"image/encoded": encoded}))


def replay(signatures, path):
    """Runs the requests with which a server warms up. It would not load a version where one of them fails."""
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.HasField("classify_log"):
            request = log.classify_log.request
            inputs = {"inputs": tf.constant([e.SerializeToString() for e in request.input.example_list.examples])}
        else:
            request = log.predict_log.request
            inputs = {key: tf.constant(tf.make_ndarray(tensor)) for key, tensor in request.inputs.items()}
        signatures[request.model_spec.signature_name](**inputs)


def differences(who, served, probabilities, tolerance, class_names):
    """Yields a line for each output that is wrong."""
    served = {key: value.numpy() for key, value in served.items()}
    order = np.argsort(-served.get("probabilities", probabilities), axis=-1, kind="stable")[:, :5]
    if "scores" in served:
        probabilities = np.take_along_axis(probabilities, order, -1)
    got = served["scores" if "scores" in served else "probabilities"]
    difference = abs(got - probabilities).max() / probabilities.max()
    if not difference <= tolerance:  # So that NaN is one.
        yield (
            f"{who} must get the probabilities of the model. "
            f"They differ by {difference:.1e} of the largest, more than {tolerance:.0e}."
        )
    names = np.vectorize(str.encode, otypes=[object])(class_names)[order]
    expected = {"class_id": order[:, 0], "class_name": names[:, 0], "top_5": names, "classes": names}
    for key, right in expected.items():
        if key in served and (served[key] != right).any():
            yield f"{who} must get the classes of the largest probabilities as `{key}`."


def import_problems():
    """Yields a line for each package without which a SavedModel must be loaded and run, but was not."""
    # By what is loaded of it, for a package that was refused stands there as None.
    packages = {name.partition(".")[0] for name, module in sys.modules.items() if module}
    for package in sorted({"keras", "keras_norms"} & packages):
        yield f"It must be loaded and run without {package}, which was imported."


def main(folder, examples):
    """Prints what was found and returns the exit status."""
    # Graph optimizations round differently: in bfloat16 by up to 6e-2 of the largest probability (ResNet-20).
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    with np.load(examples) as file:
        images, probabilities, tolerance = file["images"], file["probabilities"], file["tolerance"]
    found = [
        *graph_problems(*inference_graph(folder)),
        *value_problems(folder, images, probabilities, tolerance),
        *import_problems(),
    ]
    right = (
        f"{len(images)} images get the probabilities of the model, up to {tolerance:.0e} of the largest, without Keras."
    )
    print("\n".join(found or [right]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
