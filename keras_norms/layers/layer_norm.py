"""Layer normalization."""

import keras
from keras import ops

from keras_norms.layers import arguments, scale_and_bias
from keras_norms.ops import axes, layer_norm


class OverAxes(scale_and_bias.WithScaleAndBias):
    """Base of the normalizations over chosen axes of each example, with a scale and a bias for each of their elements.

    Args:
        axis: Integer or sequence of integers, the axes that are normalized together.
        epsilon: Float above 0.
        **kwargs: The arguments of `WithScaleAndBias`.
    """

    def __init__(self, axis, epsilon, **kwargs):
        super().__init__(**kwargs)
        self._axes = arguments.axes(axis)
        if not self._axes:
            raise ValueError(f"`axis` must name an axis, or several. Received: axis={axis!r}.")
        self.axis = list(self._axes) if isinstance(axis, list | tuple) else self._axes[0]
        self.epsilon = arguments.positive("epsilon", epsilon)

    def build(self, input_shape):
        chosen = sorted({axes.positive(axis, len(input_shape)) for axis in self._axes})
        if len(chosen) < len(self._axes):
            raise ValueError(f"`axis` must name each axis once. Received: axis={self.axis}.")
        lengths = {axis: axes.channels(input_shape, axis) for axis in chosen}
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes=lengths)
        self.add_learned(tuple(lengths.values()))

    def check_mask(self, mask):
        """Refuses a mask that could leave out some of what is normalized together."""
        if mask is not None and len(self._axes) > 1:
            raise ValueError(
                "A mask leaves out positions, and several axes mix them. Normalize one axis, or take "
                f"`GroupNorm(groups=1)`, which heeds masks. Received: axis={self.axis}, a mask of shape "
                f"{tuple(mask.shape)}."
            )

    def compute_output_shape(self, input_shape):
        for axis in self._axes:
            axes.positive(axis, len(input_shape))
        return tuple(input_shape)

    def get_config(self):
        axis = list(self._axes) if isinstance(self.axis, list | tuple) else self.axis
        return {**super().get_config(), "axis": axis, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="keras_norms")
class LayerNorm(OverAxes):
    """Normalizes the channels of each position together, or all of several axes, then scales and shifts each element.

    It sees one example at a time, and is the same in training and in inference: use it in recurrent networks and
    transformers.

    For images it reduces, by default, over the channels, at each position apart; with `axis=(1, 2, 3)` over height,
    width and channels, as the paper does, with a scale and a bias for each element of the image.

    Its own computation, not that of `keras.layers.LayerNormalization`: at a mean of 1,000 and a deviation of 0.1 that
    is wrong by 2e-3, and on PyTorch it fails for axes that are not the last (Keras 3.15); this is right to 1e-6.

    Mixed precision: computed in float32 whatever the layer's policy, and weights are float32.

    Args:
        axis: Integer or sequence of integers, the axes that are normalized together, without the batch axis. Defaults
            to `-1`.
        epsilon: Float above 0, added to the variance. Defaults to `1e-5`, as in PyTorch; Keras has 1e-3.
        use_scale, use_bias: Booleans, whether there is a learned factor, a learned summand per element.
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
    >>> layer = keras_norms.LayerNorm()
    >>> outputs = layer(np.array([[1.0, 3.0], [100.0, 104.0]]))
    >>> keras.ops.convert_to_numpy(outputs).round(3).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]

    Reference: [Ba, Kiros and Hinton, 2016](https://arxiv.org/abs/1607.06450)
    """

    def __init__(self, axis=-1, epsilon=1e-5, use_scale=True, use_bias=True, **kwargs):
        super().__init__(axis, epsilon, use_scale=use_scale, use_bias=use_bias, **kwargs)

    def call(self, inputs, mask=None):
        self.check_mask(mask)
        inputs = ops.cast(inputs, self.compute_dtype)  # Keras casts floating inputs alone
        return layer_norm.normalized(inputs, self.scale, self.bias, self._axes, self.epsilon)
