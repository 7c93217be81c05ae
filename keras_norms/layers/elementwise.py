"""What `Scale` and `Bias` share: a weight along chosen axes."""

import keras
from keras import ops

from keras_norms.layers import arguments
from keras_norms.ops import axes


class Elementwise(keras.Layer):
    """Base of the layers that combine their input with one weight along some of its axes."""

    def __init__(self, axis, initializer, regularizer, constraint, **kwargs):
        super().__init__(**kwargs)
        self._axes = arguments.axes(axis)
        self.axis = self._axes if isinstance(axis, list | tuple) else axis
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.constraint = keras.constraints.get(constraint)
        self.supports_masking = True

    def add_values(self, name, input_shape):
        """Creates the weight, with the lengths of the chosen axes as its shape."""
        chosen = sorted({axes.positive(axis, len(input_shape)) for axis in self._axes})
        if len(chosen) < len(self._axes):
            raise ValueError(f"`axis` must name each axis once. Received: axis={self.axis}.")
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes={a: input_shape[a] for a in chosen})
        return self.add_weight(
            name=name,
            shape=[axes.channels(input_shape, axis) for axis in chosen],
            initializer=self.initializer,
            regularizer=self.regularizer,
            constraint=self.constraint,
            dtype="float64" if self.variable_dtype == "float64" else "float32",
            autocast=False,
        )

    def as_floating(self, inputs):
        """Returns the inputs in the dtype the layer computes in: Keras casts floating ones alone."""
        return ops.cast(inputs, self.compute_dtype)

    def along_axes(self, values, inputs):
        """Returns the weight in a shape that broadcasts against the inputs."""
        return axes.along(values, inputs, self._axes)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "axis": list(self.axis) if isinstance(self.axis, tuple) else self.axis,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "constraint": keras.constraints.serialize(self.constraint),
        }
