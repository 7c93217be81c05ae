"""A small set of images in the form of TensorFlow Datasets, and the real ones where they are at hand."""

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.data import datasets


@pytest.fixture
def made():
    """Returns a function that makes a data set of images that can be told apart."""

    def make(shapes=((8, 8),) * 20, channels=3, same=True, test=5):
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (*shape, channels), "uint8") for shape in shapes]
        labels = np.arange(len(images)) % 4

        def split(count):
            spec = (tf.TensorSpec((None, None, channels), tf.uint8), tf.TensorSpec((), tf.int64))
            if same:
                return tf.data.Dataset.from_tensor_slices((np.stack(images[:count]), labels[:count]))
            return tf.data.Dataset.from_generator(
                lambda: zip(images[:count], labels[:count], strict=True), output_signature=spec
            )

        size = shapes[0] if same else (None, None)
        return datasets.Dataset(
            "made", tuple("abcd"), (*size, channels), split(len(images)), split(test), len(images), test
        )

    return make
