"""A grouped convolution that every TensorFlow device can train and every server can load."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_norms")
class GroupedConv2D(keras.layers.Conv2D):
    """A `keras.layers.Conv2D` that convolves its groups one by one: same arguments, weights and values.

    Keras compiles a grouped convolution with XLA on TensorFlow, because TensorFlow
    has no gradient of it on CPU (keras 3.15, `backend/tensorflow/nn.py`). The
    compiled function stays in an exported model, where TensorFlow Serving refuses
    it (serving#2214), and a training step on CPU takes ten times longer.
    """

    def convolution_op(self, inputs, kernel):
        convolution = super().convolution_op
        channels = -1 if self.data_format == "channels_last" else 1
        groups = zip(
            ops.split(inputs, self.groups, axis=channels), ops.split(kernel, self.groups, axis=-1), strict=True
        )
        return ops.concatenate([convolution(*group) for group in groups], axis=channels)
