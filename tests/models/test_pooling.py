import keras
import numpy as np
import pytest

from keras_norms.models import pooling


def caffe_max_pool(x):
    """Returns the maxima of 3 x 3 windows with stride 2, as many as begin inside and reach beyond those before."""

    def count(side):
        return int(np.ceil((side - 3) / 2)) + 1

    rows, columns = count(x.shape[1]), count(x.shape[2])
    y = np.empty((x.shape[0], rows, columns, x.shape[3]), x.dtype)
    for i, j in np.ndindex(rows, columns):
        y[:, i, j] = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2))
    return y


@pytest.mark.parametrize("height", [2, 3, 8, 15])
@pytest.mark.parametrize("width", [2, 3, 8, 15])
def test_equals_caffe(height, width, hostile):
    # Negative numbers: a maximum must not see the padding.
    x = hostile((2, height, width, 3)) - 100
    images = keras.Input(x.shape[1:])
    model = keras.Model(images, pooling.max_pool(images, name="pool"))
    assert model.output_shape == (None, height // 2, width // 2, 3)
    np.testing.assert_array_equal(model.predict(x, verbose=0), caffe_max_pool(x))


def test_sides_of_one_parity_need_one_layer():
    names = {}
    for size in ((8, 6), (9, 7), (8, 7)):
        images = keras.Input((*size, 1))
        names[size] = [layer.name for layer in keras.Model(images, pooling.max_pool(images, name="pool")).layers[1:]]
    assert names == {(8, 6): ["pool"], (9, 7): ["pool"], (8, 7): ["pool_height", "pool_width"]}
