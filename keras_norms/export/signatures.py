"""What a version answers: the signatures of its SavedModel.

    serving_default  image        float32 (batch, height, width, channels), pixels from 0 to 255
    image_bytes      image_bytes  string (batch,), JPEG, PNG, GIF or BMP files of any size
    classify         inputs       string (batch,), serialized `tf.Example` with a file as `image/encoded`

The first two return, per image, what `Answers` says; `classify` returns what the Classify API of TensorFlow Serving
asks for: `classes`, string, and `scores`, float32, of shape `(batch, k)`, the most probable class first. The k here and
in `top_5` is five, or the number of classes if that is smaller.

Files become pixels as test images do (`data.views.Centre`). One that is no image fails the whole batch it is in.
"""

import tensorflow as tf

from keras_norms.data import pipeline, views

SERVING_DEFAULT, IMAGE_BYTES, CLASSIFY = "serving_default", "image_bytes", "classify"
ENCODED = "image/encoded"
_LISTED = 5
# What TensorFlow decodes an image file to: grey, colours, colours and opacity.
CHANNELS = (1, 3, 4)
# Of a longer image the middle is taken before it is resized: the view shows less than that, and memory has an end.
_LONGEST = 8


class Answers:
    """From pixels to what is served.

    Args:
        classifier: Keras model that returns logits of shape `(batch, classes)`.
        preprocess: Function of pixels, see `saved_model.export`.
        class_names: Sequence of strings.
    """

    def __init__(self, classifier, preprocess, class_names):
        self._classifier, self._preprocess = classifier, preprocess
        self._class_names = tf.constant(list(class_names))
        self._listed = min(_LISTED, len(class_names))

    def __call__(self, pixels):
        """Returns a dict.

        probabilities: float32 (batch, classes).
        class_id: int64 (batch,), of the largest probability.
        class_name: string (batch,), its name.
        top_5: string (batch, k), the names of the largest probabilities.
        """
        logits = self._classifier(self._preprocess(pixels), training=False)
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))
        class_id = tf.argmax(probabilities, axis=-1)
        names, _ = self.listed(probabilities)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "class_name": tf.gather(self._class_names, class_id),
            "top_5": names,
        }

    def listed(self, probabilities):
        """Returns the names of the most probable classes, and their probabilities."""
        scores, indices = tf.math.top_k(probabilities, self._listed)
        return tf.gather(self._class_names, indices), scores


def signatures(answers, image_shape):
    """Returns a dict from the names of signatures to functions that TensorFlow can save.

    Those of files are left out for images of other than 1, 3 or 4 channels, which no file has.

    Args:
        answers: `Answers`.
        image_shape: Tuple (height, width, channels).
    """
    pixels = tf.TensorSpec((None, *image_shape), tf.float32, name="image")
    found = {SERVING_DEFAULT: _function(lambda image: answers(image), pixels)}
    if image_shape[-1] not in CHANNELS:
        return found

    def of_files(files):
        pixels_of_one = tf.TensorSpec(image_shape, tf.float32)
        return answers(tf.map_fn(lambda file: decoded(file, image_shape), files, fn_output_signature=pixels_of_one))

    def classify(inputs):
        files = tf.io.parse_example(inputs, {ENCODED: tf.io.FixedLenFeature((), tf.string)})[ENCODED]
        classes, scores = answers.listed(of_files(files)["probabilities"])
        return {"classes": classes, "scores": scores}

    strings = (tf.TensorSpec((None,), tf.string, name=name) for name in ("image_bytes", "inputs"))
    by_bytes = _function(lambda image_bytes: of_files(image_bytes), next(strings))
    return {**found, IMAGE_BYTES: by_bytes, CLASSIFY: _function(classify, next(strings))}


def _function(function, spec):
    return tf.function(function, input_signature=[spec], autograph=False)


def decoded(file, image_shape):
    """Returns the pixels of an image file as the network is shown test images, but not normalized.

    A file of exactly the network's size is taken as it is.

    Args:
        file: Scalar string tensor, the bytes of the file.
        image_shape: Tuple (height, width, channels).

    Returns:
        float32 tensor of that shape. It fails with `InvalidArgumentError` where the file is no image.
    """
    height, width, channels = image_shape
    image = tf.io.decode_image(file, channels=channels, expand_animations=False)
    image = _middle(tf.ensure_shape(image, (None, None, channels)))[None]
    if height != width:  # no data set has a view for it
        return tf.image.resize(image, (height, width), antialias=True)[0]
    pixels = pipeline.Preprocessing(height, (0.0,) * channels, (1.0,) * channels)
    exact = tf.reduce_all(tf.shape(image)[1:3] == height)
    seen = tf.cond(exact, lambda: tf.cast(image, tf.float32), lambda: views.Centre(pixels)(image, None))
    return tf.ensure_shape(seen, (1, *image_shape))[0]


def _middle(image):
    height, width = tf.unstack(tf.shape(image)[:2])
    most = _LONGEST * tf.minimum(height, width)
    rows, columns = tf.minimum(height, most), tf.minimum(width, most)
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]
