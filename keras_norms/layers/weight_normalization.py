"""Weight normalization."""

import keras
from keras import ops

from keras_norms.layers import reparameterization
from keras_norms.ops import weight_normalization


@keras.saving.register_keras_serializable(package="keras_norms")
class WeightNormalization(reparameterization.WithScale):
    """Learns the length of a layer's weight vectors apart from their direction: `w = scale * v / ||v||`.

    Wrap it around any layer with weights. It costs nothing that grows with the batch, and behaves the same in
    training and in inference. It does not centre or rescale what the layer returns: give it a start with
    `initializers.weight_norm`, and residual networks one of their own (`initializers.residual_weight_norm`).

    The wrapped layer's variable holds v. The effective weight is computed in each call and never written to it, so
    that the wrapper works under `stateless_call`, XLA, distribution strategies and in exports. Computed in float32 in
    mixed precision, too. A row of zeros gives zeros and finite gradients; the scale may become negative.

    The scale starts as the norm of v: wrapping a layer changes nothing. With `scale_initializer="ones"` it is the
    affine form of Xiang and Li, with `use_scale=False` their strict form, `w = v / ||v||`.

    A regularizer of the wrapped kernel acts on v, whose length changes nothing but the effective learning rate. L2
    decay of the effective weight is L2 decay of the scale: `scale_regularizer`.

    The call form is that of TensorFlow Addons, but for its default `data_init=True`, which is wrong there: call
    `initializers.weight_norm(model, batch)` instead.

    Freeze the wrapper, not the layer in it, whose scale would go on learning. A layer in two wrappers trains, but its
    `.keras` file does not load (as with `keras.layers.TimeDistributed`).

    Args:
        layer: Keras layer. A layer with several inputs must have been built. Recurrent layers are wrapped with
            `weight=["cell.kernel", "cell.recurrent_kernel"]`, or their cells, if these have no dropout; `Bidirectional`
            as a whole, not the layer in it.
        weight: String or sequence of strings, the attributes that hold the weights: `"kernel"` by default,
            `["depthwise_kernel", "pointwise_kernel"]` for separable convolutions, `"embeddings"` for `Embedding`.
            A path such as `"cell.kernel"` reaches into the layer's own layers, a number in it into a list.
        axis: Integer or sequence of integers, the axes of the weight that number its vectors, for all named weights;
            an empty sequence for one norm of the whole weight. By default one vector per output unit: axis -1, -2 for
            transposed convolutions, (-2, -1) for depthwise ones, 0 for embeddings, the output axes for `EinsumDense`.
        use_scale: Boolean, whether the length is learned. Otherwise it is 1.
        epsilon: Float above 0, added to the squared norm. Defaults to `1e-12`, as in flax.
        **kwargs: `scale_initializer` (the norm of v if not given), `scale_regularizer`, `scale_constraint`; `name`,
            `trainable`. The dtype is that of the wrapped layer.

    Input and output shape: Those of the wrapped layer.
    Weights:
        Those of the wrapped layer, and for each weight named a scale in `scales`, with the lengths of the kept axes
        as its shape.

    Example:
    >>> layer = keras_norms.WeightNormalization(keras.layers.Dense(1, kernel_initializer="ones"))
    >>> float(layer(np.array([[1.0, 2.0]]))[0, 0])
    3.0
    >>> tuple(layer.scales["kernel"].shape)
    (1,)

    Reference: [Salimans and Kingma, 2016](https://arxiv.org/abs/1602.07868),
    [Xiang and Li, 2017](https://arxiv.org/abs/1704.03971)
    """

    def __init__(self, layer, weight="kernel", axis=None, use_scale=True, epsilon=1e-12, **kwargs):
        if kwargs.pop("data_init", False):
            raise ValueError(
                "`data_init=True` of TensorFlow Addons is `keras_norms.initializers.weight_norm(model, batch)` here, "
                "which measures with normalized weights, layer after layer. Received: data_init=True."
            )
        super().__init__(layer, weight, axis, use_scale, epsilon, **kwargs)

    def first_scale(self, variable, kept):
        return lambda shape, dtype: ops.cast(weight_normalization.norm(variable.value, kept, self.epsilon), dtype)

    def effective(self, name, variable, kept):
        return weight_normalization.normalized(variable.value, self.scales.get(name), kept, self.epsilon)
