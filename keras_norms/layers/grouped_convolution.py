"""A grouped convolution that every TensorFlow device can train and every server can load."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_norms")
class GroupedConv2D(keras.layers.Conv2D):
    """A `keras.layers.Conv2D` that convolves its groups one by one: same arguments, weights and values.

    Use it for a few groups, as in CaffeNet. Keras compiles a grouped convolution with XLA on TensorFlow, because
    TensorFlow has no gradient of it on CPU (Keras 3.15, `backend/tensorflow/nn.py`). The compiled function stays in an
    exported model, where TensorFlow Serving refuses it (serving#2214), and a training step on CPU takes ten times
    longer.

    Args:
        filters, kernel_size, groups, ...: As in `keras.layers.Conv2D`.

    Input and output shape: As in `keras.layers.Conv2D`.
    Weights: As in `keras.layers.Conv2D`.

    Example:
    >>> layer = keras_norms.GroupedConv2D(4, 3, groups=2)
    >>> tuple(layer(np.zeros((1, 8, 8, 6))).shape)
    (1, 6, 6, 4)

    Reference: Krizhevsky et al., [2012](https://papers.nips.cc/paper/4824), section 3.5
    """

    def convolution_op(self, inputs, kernel):
        convolution = super().convolution_op
        channels = -1 if self.data_format == "channels_last" else 1
        groups = zip(
            ops.split(inputs, self.groups, axis=channels), ops.split(kernel, self.groups, axis=-1), strict=True
        )
        return ops.concatenate([convolution(*group) for group in groups], axis=channels)
