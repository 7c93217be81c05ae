"""A learned summand, alone."""

import keras

from keras_norms.layers import elementwise
from keras_norms.ops import bias


@keras.saving.register_keras_serializable(package="keras_norms")
class Bias(elementwise.Elementwise):
    """Shifts its input by a learned constant: one per channel, one per element of several axes, or one for all.

    Use it where a bias stands alone, or behind `Scale` as Caffe's Scale layer with `bias_term: true`.

    Args:
        axis: Integer, the channel axis; sequence of integers for a value per element of these axes; `None` for one
            value. Never the batch axis. Defaults to `-1`.
        initializer: Initializer. Defaults to `"zeros"`.
        regularizer: Regularizer or `None`.
        constraint: Constraint or `None`.
        **kwargs: `name`, `dtype`, `trainable`.

    Input and output shape: Any rank from 2.
    Weights:
        bias: Shape `(channels,)`, the lengths of the axes, or `()`; trainable.

    Example:
    >>> layer = keras_norms.Bias(axis=None, initializer=keras.initializers.Constant(2.0))
    >>> keras.ops.convert_to_numpy(layer(np.array([[1.0, 3.0]]))).tolist()
    [[3.0, 5.0]]

    Reference: [Caffe, Scale layer](https://caffe.berkeleyvision.org/tutorial/layers/scale.html)
    """

    def __init__(self, axis=-1, initializer="zeros", regularizer=None, constraint=None, **kwargs):
        super().__init__(axis, initializer, regularizer, constraint, **kwargs)

    def build(self, input_shape):
        self.bias = self.add_values("bias", input_shape)

    def call(self, inputs):
        return bias.shifted(self.as_floating(inputs), self.along_axes(self.bias, inputs))
