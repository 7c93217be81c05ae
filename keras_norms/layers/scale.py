"""A learned factor, alone."""

import keras

from keras_norms.layers import elementwise
from keras_norms.ops import scale


@keras.saving.register_keras_serializable(package="keras_norms")
class Scale(elementwise.Elementwise):
    """Multiplies its input by a learned factor: one per channel, one per element of several axes, or one for all.

    Use it where a scale stands alone, for instance as the last layer of a residual branch (with a zero
    initializer), or with `Bias` as Caffe's Scale layer: Caffe's `axis: 1` is `axis=-1` on channels last, `num_axes: 0`
    is `axis=None`, and `num_axes: n` is the sequence of n axes.

    Args:
        axis: Integer, the channel axis; sequence of integers for a value per element of these axes; `None` for one
            value. Never the batch axis. Defaults to `-1`.
        initializer: Initializer. Defaults to `"ones"`.
        regularizer: Regularizer or `None`.
        constraint: Constraint or `None`.
        **kwargs: `name`, `dtype`, `trainable`.

    Input and output shape: Any rank from 2.
    Weights:
        scale: Shape `(channels,)`, the lengths of the axes, or `()`; trainable.

    Example:
    >>> layer = keras_norms.Scale(axis=None, initializer=keras.initializers.Constant(2.0))
    >>> keras.ops.convert_to_numpy(layer(np.array([[1.0, 3.0]]))).tolist()
    [[2.0, 6.0]]

    Reference: [Caffe, Scale layer](https://caffe.berkeleyvision.org/tutorial/layers/scale.html)
    """

    def __init__(self, axis=-1, initializer="ones", regularizer=None, constraint=None, **kwargs):
        super().__init__(axis, initializer, regularizer, constraint, **kwargs)

    def build(self, input_shape):
        self.scale = self.add_values("scale", input_shape)

    def call(self, inputs):
        return scale.scaled(self.as_floating(inputs), self.along_axes(self.scale, inputs))
