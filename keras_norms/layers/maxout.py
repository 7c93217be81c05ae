"""The maxout layer."""

import keras
from keras import ops

from keras_norms.layers import arguments
from keras_norms.ops import maxout


@keras.saving.register_keras_serializable(package="keras_norms")
class Maxout(keras.Layer):
    """Returns the maximum over groups of channels, a learned convex activation of the layer before it.

        y[j] = max(x[j], x[units + j], x[2 * units + j], ...),    units = channels / pieces

    Use it behind a linear layer with `pieces` times the channels wanted. The order is that of concatenated layers:
    the maximum of two convolutions a and b is `Maxout(pieces=2)` on their concatenation.

    `tfa.layers.Maxout(num_units)` on `channels` channels is `Maxout(pieces=channels // num_units)`, in the same
    order. The argument is the number of pieces so that one object serves layers of all widths, and must be named, so
    that a `num_units` is not taken for it.

    Args:
        pieces: Integer, how many channels a unit is the maximum of. It must divide their number.
        axis: Integer, the channel axis. Defaults to `-1`.
        **kwargs: `name`, `dtype`.

    Input shape: `(batch, ..., channels)`, or as `axis` says.
    Output shape: `(batch, ..., channels / pieces)`.

    Example:
    >>> layer = keras_norms.Maxout(pieces=2)
    >>> keras.ops.convert_to_numpy(layer(np.array([[1.0, 2.0, 3.0, -4.0]]))).tolist()
    [[3.0, 2.0]]

    Reference: [Goodfellow et al., 2013](https://arxiv.org/abs/1302.4389)
    """

    def __init__(self, *, pieces, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.pieces = arguments.integer("pieces", pieces, 1)
        self.axis = arguments.integer("axis", axis)
        self.supports_masking = True

    def build(self, input_shape):
        maxout.units(input_shape, self.pieces, self.axis)

    def call(self, inputs):
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return maxout.maxout(inputs, self.pieces, self.axis)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        shape[self.axis] = maxout.units(input_shape, self.pieces, self.axis)
        return tuple(shape)

    def get_config(self):
        return {**super().get_config(), "pieces": self.pieces, "axis": self.axis}
