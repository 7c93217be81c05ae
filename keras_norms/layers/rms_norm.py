"""Root mean square normalization."""

import keras
from keras import ops

from keras_norms.layers import layer_norm
from keras_norms.ops import rms_norm


@keras.saving.register_keras_serializable(package="keras_norms")
class RMSNorm(layer_norm.OverAxes):
    """Divides the channels of each position by their root mean square, or all of several axes, then scales them.

    It is `LayerNorm` without the mean, and without a bias by default: cheaper, and common in language models. It sees
    one example at a time, and is the same in training and in inference.

    For images it reduces, by default, over the channels, at each position apart.

    Its own computation, not that of `keras.layers.RMSNormalization`, which is as exact, but fails for axes that are
    not the last (Keras 3.15).

    Mixed precision: computed in float32 whatever the layer's policy, and weights are float32.

    Args:
        axis: Integer or sequence of integers, the axes that are normalized together, without the batch axis. Defaults
            to `-1`.
        epsilon: Float above 0, added to the mean square. Defaults to `1e-6`, as in Keras; PyTorch's default is the
            spacing of floats at 1, 1.2e-7 in float32.
        use_scale, use_bias: Booleans, whether there is a learned factor, a learned summand per element. Default to
            `True` and `False`.
        **kwargs: `scale_initializer` (`"ones"` if not given), `bias_initializer` (`"zeros"`), `scale_regularizer`,
            `bias_regularizer`, `scale_constraint`, `bias_constraint`; `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Floating tensor of any rank from 2.
        mask: Boolean tensor with the first axes of the inputs. It changes nothing where one axis is normalized, for
            each position has its own statistics, and is refused where several are.

    Input and output shape: Any rank from 2.
    Weights:
        scale, bias: The lengths of the axes, in the order they have in the input; trainable.

    Example:
    >>> layer = keras_norms.RMSNorm()
    >>> keras.ops.convert_to_numpy(layer(np.array([[1.0, -7.0]]))).round(3).tolist()
    [[0.20000000298023224, -1.399999976158142]]

    Reference: [Zhang and Sennrich, 2019](https://arxiv.org/abs/1910.07467)
    """

    def __init__(self, axis=-1, epsilon=1e-6, use_scale=True, use_bias=False, **kwargs):
        super().__init__(axis, epsilon, use_scale=use_scale, use_bias=use_bias, **kwargs)

    def call(self, inputs, mask=None):
        self.check_mask(mask)
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return rms_norm.normalized(inputs, self.scale, self.bias, self._axes, self.epsilon)
