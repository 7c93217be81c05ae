"""A moving average of a model's weights over its training steps, moving statistics included."""

import keras
from keras import ops


class WeightAverage(keras.callbacks.Callback):
    """Averages the weights over the steps of a training, and leaves the averages in the model at its end.

    Use it for the last digits of accuracy: an average of the weights of many steps tests better than those of the last
    one. All floating-point variables are averaged, the moving statistics of normalizations too. Keras' `use_ema` leaves
    these out, so that averaged kernels meet the statistics of the last raw ones.

        average = momentum * average + (1 - momentum) * weights

    after each step, from zero, divided by `1 - momentum ** steps` at the end. During the training the model has its raw
    weights, with which callbacks and the tests after each epoch see it. A training that is taken up again after a break
    begins a new average.

    Args:
        momentum: Float in [0, 1), the weight that the average keeps in a step. Defaults to `0.999`.

    Example:
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), keras_norms.BatchNorm()])
    >>> model.compile("sgd", "mse")
    >>> average = keras_norms.training.WeightAverage(0.9)
    >>> history = model.fit(np.ones((8, 1)), np.ones((8, 1)), verbose=0, callbacks=[average])

    Reference: [Polyak and Juditsky, 1992](https://doi.org/10.1137/0330046)
    """

    def __init__(self, momentum=0.999):
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be at least 0 and below 1. Received: momentum={momentum!r}.")
        self._momentum = momentum

    def on_train_begin(self, logs=None):
        self._variables = [v for v in self.model.variables if keras.backend.is_float_dtype(v.dtype)]
        self._totals = [ops.zeros(v.shape, v.dtype) for v in self._variables]
        self._weight = 0.0

    def on_train_batch_end(self, batch, logs=None):
        kept = self._momentum
        self._weight = kept * self._weight + (1 - kept)
        self._totals = [
            kept * total + (1 - kept) * ops.convert_to_tensor(variable)
            for total, variable in zip(self._totals, self._variables, strict=True)
        ]

    def on_train_end(self, logs=None):
        if self._weight:
            for variable, total in zip(self._variables, self._totals, strict=True):
                variable.assign(total / self._weight)
