import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's kernel", allow_module_level=True)

import tensorflow as tf

from keras_norms.ops import trelu, trelu_tensorflow

THRESHOLD = np.array([-1e4, -3.3, 1e4, 50], "float32")


def with_gradients(function, x, threshold, dy):
    with tf.GradientTape() as tape:
        tape.watch([x, threshold])
        y = function(x, threshold)
    return y, *tape.gradient(y, [x, threshold], dy)


@pytest.mark.parametrize("compiled", [False, True])
def test_agrees_with_the_portable_form(compiled, hostile):
    x, dy = hostile((2, 3, 5, 4)), hostile((2, 3, 5, 4), seed=1)
    x[0, 0, 0] = THRESHOLD  # ties

    def portable(x, threshold):  # with its channels first
        return tf.transpose(trelu.translated_relu(tf.transpose(x, [0, 3, 1, 2]), threshold, axis=1), [0, 2, 3, 1])

    run = tf.function(with_gradients, jit_compile=compiled)
    values = [
        run(function, *map(tf.constant, (x, THRESHOLD, dy)))
        for function in (trelu_tensorflow.translated_relu, portable)
    ]
    np.testing.assert_array_equal(values[0][0], values[1][0])
    np.testing.assert_array_equal(values[0][1], values[1][1])
    # Here a difference of sums over all rows.
    np.testing.assert_allclose(values[0][2], values[1][2], rtol=1e-5, atol=1e-5 * abs(dy).sum((0, 1, 2)).max())


def test_threshold_below_everything_has_no_gradient_at_all(hostile):
    x, dy = (tf.constant(hostile((64, 9, 9, 4), seed=seed)) for seed in range(2))
    *_, of_threshold = with_gradients(trelu_tensorflow.translated_relu, x, tf.fill([4], -1e4), dy)
    np.testing.assert_array_equal(of_threshold, np.zeros(4))


def test_what_is_no_number_stays_none():
    x = tf.fill([3, 17], np.float32("nan"))
    assert np.isnan(trelu_tensorflow.translated_relu(x, tf.zeros([17]))).all()
