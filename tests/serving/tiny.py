"""A tiny SavedModel with the signatures that keras_norms exports. It sees the mean colour of an image."""

import numpy as np
import tensorflow as tf

CLASS_NAMES = ["red", "green", "blue whale", "Hühnerhund", "black", "white"]
SIZE = (4, 6)
# Classes by channels; the second version sees other things in the same colours.
KERNELS = {
    1: np.array([[4, -1, -2], [-1, 4, -3], [-2, -1, 4], [2, 2, -4], [-3, -3, -2], [1, 2, 1]], "float32"),
    2: np.array([[-1, 4, -2], [4, -1, -3], [2, 2, -4], [-2, -1, 4], [1, 2, 1], [-3, -3, -2]], "float32"),
}


def probabilities(colour, kernel):
    """Returns the softmax, in float64, that the model gives for an image of one colour."""
    exponentials = np.exp(kernel.astype("float64") @ (np.array(colour, "float64") / 255))
    return exponentials / exponentials.sum()


def write(folder, kernel, only=None):
    """Writes a SavedModel with all its signatures, or one alone."""
    names = tf.constant(CLASS_NAMES)

    def answers(image):
        logits = tf.linalg.matvec(tf.constant(kernel), tf.reduce_mean(image, [1, 2]) / 255)
        probabilities = tf.nn.softmax(logits)
        class_id = tf.argmax(probabilities, -1)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "class_name": tf.gather(names, class_id),
            "top_5": tf.gather(names, tf.math.top_k(probabilities, 5).indices),
        }

    def decoded(file):
        image = tf.io.decode_image(file, channels=3, expand_animations=False)
        return tf.ensure_shape(tf.image.resize(image, SIZE), (*SIZE, 3))

    def of_files(image_bytes):
        return answers(tf.map_fn(decoded, image_bytes, fn_output_signature=tf.float32))

    def classify(inputs):
        files = tf.io.parse_example(inputs, {"image/encoded": tf.io.FixedLenFeature((), tf.string)})["image/encoded"]
        scores, indices = tf.math.top_k(of_files(files)["probabilities"], 5)
        return {"classes": tf.gather(names, indices), "scores": scores}

    specs = {
        "serving_default": (answers, tf.TensorSpec((None, *SIZE, 3), tf.float32, name="image")),
        "image_bytes": (of_files, tf.TensorSpec((None,), tf.string, name="image_bytes")),
        "classify": (classify, tf.TensorSpec((None,), tf.string, name="inputs")),
    }
    signatures = {
        name: tf.function(function, input_signature=[spec], autograph=False)
        for name, (function, spec) in specs.items()
        if only in (None, name)
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures)


def file(colour, size=(9, 7), form="png"):
    """Returns the bytes of an image file of one colour."""
    image = np.broadcast_to(np.array(colour, "uint8"), (*size, 3))
    encode = {"png": tf.io.encode_png, "jpeg": lambda image: tf.io.encode_jpeg(image, quality=100)}[form]
    return encode(image).numpy()
