"""A moving average of a model's weights over its training steps, moving statistics included."""

import contextlib

import keras
import tensorflow as tf


class WeightAverage(keras.callbacks.Callback):
    """Averages the weights over the steps of a training, and leaves the averages in the model at its end.

    Use it for the last digits of accuracy: an average of the weights of many steps tests better than those of the last
    one. All floating-point variables are averaged, the moving statistics of normalizations too. Keras' `use_ema` leaves
    these out, so that averaged kernels meet the statistics of the last raw ones.

        average = momentum * average + (1 - momentum) * weights

    after each step, from zero, divided by `1 - momentum ** steps` when it is used. During the training the model has
    its raw weights, with which callbacks see it; within `averaged()` it has the averages. The average lives in
    `variables`, for a checkpoint. It goes on when a training is taken up again, and begins with another model.

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
        self._averaged_model = None

    def set_model(self, model):
        super().set_model(model)
        if model is self._averaged_model:
            return
        if not model.built:
            raise ValueError(
                f"`model` must be built: an unbuilt one has no weights to average. Received: {model.name}."
            )
        self._averaged_model = model
        self._averaged = [v.value for v in model.variables if keras.backend.is_float_dtype(v.dtype)]
        # At least float32: an average of half precision stands still at a momentum of 0.999.
        self._totals = [tf.Variable(tf.zeros(v.shape, _wide(v.dtype)), trainable=False) for v in self._averaged]
        self._weight = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        # One call each, not one a variable.
        self._move, self._fill, self._restore = map(tf.function, (self.move, self._filled, self._restored))

    @property
    def variables(self):
        """The state of the average, once there is a model: a list of `tf.Variable`."""
        return [self._weight, *self._totals]

    def on_train_batch_end(self, batch, logs=None):
        self._move()

    def on_train_end(self, logs=None):
        if self._weight > 0:
            self._fill()

    @contextlib.contextmanager
    def averaged(self):
        """Within it the model has the averages, after it the raw weights again, bit for bit, on every replica."""
        raw = [[tf.identity(part) for part in _parts(variable)] for variable in self._averaged]
        try:
            self.on_train_end()
            yield
        finally:
            self._restore(raw)

    def move(self):
        """Takes up the weights after one more step. A step that is a `tf.function` can do so in the same call."""
        self._weight.assign(self._momentum * self._weight + (1 - self._momentum))
        for total, variable in zip(self._totals, self._averaged, strict=True):
            # Read across replicas: moving statistics are the means over them.
            value = tf.cast(tf.convert_to_tensor(variable), total.dtype)
            total.assign(self._momentum * total + (1 - self._momentum) * value)

    def _filled(self):
        for total, variable in zip(self._totals, self._averaged, strict=True):
            average = total / tf.cast(self._weight, total.dtype)
            for part in _parts(variable):
                part.assign(tf.cast(average, part.dtype))

    def _restored(self, raw):
        for values, variable in zip(raw, self._averaged, strict=True):
            for value, part in zip(values, _parts(variable), strict=True):
                part.assign(value)


def _parts(variable):
    """Returns the variable of each replica of this process."""
    return variable.values if isinstance(variable, tf.distribute.DistributedValues) else (variable,)


def _wide(dtype):
    return tf.float64 if dtype == tf.float64 else tf.float32
