import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import lending


class Busy(keras.layers.Layer):
    """Assigns to a counter, draws random numbers, normalizes and adds a loss."""

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1],), initializer="ones")
        self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)
        self.dropout = keras.layers.Dropout(0.5, seed=1)
        self.norm = keras.layers.BatchNormalization(momentum=0.0)
        self.norm.build(input_shape)

    def call(self, inputs, training=None):
        self.calls.assign(self.calls + 1.0)
        self.kernel.assign(self.kernel * 2.0)
        self.add_loss(ops.sum(self.kernel))
        return self.dropout(self.norm(inputs * self.kernel, training=training), training=training)


@pytest.fixture
def busy():
    layer = Busy()
    layer.build((None, 3))
    return layer


X = np.random.default_rng(0).normal(5, 2, (6, 3)).astype("float32")
LENT = np.array([1, 10, 100], "float32")


def test_the_value_lent_is_computed_with_and_not_written(busy):
    outputs, _ = lending.call_with(busy, [(busy.kernel, LENT)], X)
    root = np.sqrt(1 + 1e-3)  # an untrained batch normalization of Keras
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), 2 * X * LENT / root, rtol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(busy.kernel), 1)


def test_other_variables_keep_what_the_layer_assigns(busy):
    first, _ = lending.call_with(busy, [(busy.kernel, LENT)], X, training=True)
    second, _ = lending.call_with(busy, [(busy.kernel, LENT)], X, training=True)
    assert float(busy.calls.value) == 2
    np.testing.assert_allclose(ops.convert_to_numpy(busy.norm.moving_mean), (2 * X * LENT).mean(0), rtol=1e-5)
    # The random state has moved on.
    assert (ops.convert_to_numpy(first) != ops.convert_to_numpy(second)).any()


def test_losses_are_returned(busy):
    _, (loss,) = lending.call_with(busy, [(busy.kernel, LENT)], X)
    assert float(loss) == 222


def test_losses_of_a_stateless_call_are_counted_once(busy):
    class Lender(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.busy = busy

        def call(self, inputs):
            return lending.call_with(self.busy, [(self.busy.kernel, LENT)], inputs)[0]

    lender = Lender()
    lender.built = True
    values = [[v.value for v in vs] for vs in (lender.trainable_variables, lender.non_trainable_variables)]
    _, _, losses = lender.stateless_call(*values, X, return_losses=True)
    assert [float(loss) for loss in losses] == [222]


def test_values_of_the_scope_outside_are_seen(busy):
    """One scope maps the variables to sevens, the other inside lends the kernel."""
    mapping = [(v, ops.full(v.shape, 7, v.dtype)) for v in busy.variables]
    with keras.StatelessScope(mapping):
        outputs, _ = lending.call_with(busy, [(busy.kernel, LENT)], X)
    expected = (2 * X * LENT - 7) / np.sqrt(7 + 1e-3) * 7 + 7  # statistics, scale and shift of a batch normalization
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, rtol=1e-5)


def test_updates_reach_the_scope_outside(busy):
    values = [ops.convert_to_tensor(np.full(v.shape, 7.0, v.dtype)) for v in busy.variables]
    with keras.StatelessScope(zip(busy.variables, values, strict=True)) as scope:
        lending.call_with(busy, [(busy.kernel, LENT)], X)
    assert float(scope.get_current_value(busy.calls)) == 8
    assert float(busy.calls.value) == 0
    np.testing.assert_array_equal(ops.convert_to_numpy(scope.get_current_value(busy.kernel)), 7)


def test_a_failing_call_leaves_no_scope_behind(busy):
    # Each backend has its own exception.
    with pytest.raises(Exception):  # noqa: B017, PT011
        lending.call_with(busy, [(busy.kernel, LENT)], X[:, :2])
    busy.kernel.assign(LENT)
    np.testing.assert_array_equal(ops.convert_to_numpy(busy.kernel), LENT)
