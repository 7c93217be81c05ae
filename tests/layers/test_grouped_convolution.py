import keras
import numpy as np
import pytest

from keras_norms.layers import grouped_convolution


def convolved(x, kernel, bias, groups):
    """Returns the convolution without padding of each group, in float64, one output pixel at a time."""
    x, kernel = x.astype("float64"), kernel.astype("float64")
    side = kernel.shape[0]
    rows, columns = x.shape[1] - side + 1, x.shape[2] - side + 1
    y = np.empty((x.shape[0], rows, columns, kernel.shape[3]))
    inputs, outputs = x.shape[3] // groups, kernel.shape[3] // groups
    for i, j, filter_ in np.ndindex(rows, columns, kernel.shape[3]):
        first = filter_ // outputs * inputs
        window = x[:, i : i + side, j : j + side, first : first + inputs]
        y[:, i, j, filter_] = (window * kernel[..., filter_]).sum((1, 2, 3)) + bias[filter_]
    return y


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_equals_the_definition(groups, hostile):
    x = hostile((2, 5, 6, 6))
    layer = grouped_convolution.GroupedConv2D(12, 3, groups=groups)
    layer.build(x.shape)
    assert layer.kernel.shape == (3, 3, 6 // groups, 12)
    kernel, bias = hostile(tuple(layer.kernel.shape), seed=1), hostile((12,), seed=2)
    layer.set_weights([kernel, bias])
    expected = convolved(x, kernel, bias, groups)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(x)), expected, rtol=1e-5, atol=1e-6 * abs(expected).max()
    )


def test_equals_keras_where_strided_and_padded(hostile):
    x = hostile((2, 7, 8, 4))
    arguments = {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same", "groups": 2, "activation": "relu"}
    theirs, ours = keras.layers.Conv2D(**arguments), grouped_convolution.GroupedConv2D(**arguments)
    expected = keras.ops.convert_to_numpy(theirs(x))
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours(x)), expected, rtol=1e-5, atol=1e-5)


def test_saved_model_gives_the_same_output(hostile, tmp_path):
    x = hostile((2, 5, 5, 4))
    model = keras.Sequential([keras.Input((5, 5, 4)), grouped_convolution.GroupedConv2D(6, 3, groups=2)])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(*(one.predict(x, verbose=0) for one in (model, loaded)))


def test_exported_model_holds_no_xla(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("concerns the export of TensorFlow")
    import tensorflow as tf

    model = keras.Sequential([keras.Input((5, 5, 4)), grouped_convolution.GroupedConv2D(6, 3, groups=2)])
    model.export(tmp_path, verbose=False)
    graph = tf.saved_model.load(tmp_path).signatures["serving_default"].graph.as_graph_def()
    assert not any(function.attr["_XlaMustCompile"].b for function in graph.library.function)
