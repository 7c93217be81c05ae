"""What the activations with learned values share: weights along the channel axis."""

import keras
from keras import ops

from keras_norms.layers import arguments
from keras_norms.ops import axes


class LearnedActivation(keras.Layer):
    """Base of the activations with values learned per channel. These are float32 under mixed precision, too.

    Args:
        axis: Integer, the channel axis; `None` for values that all channels share.
        **kwargs: `name`, `dtype`, `trainable`.
    """

    def __init__(self, axis, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis if axis is None else arguments.integer("axis", axis)
        self.supports_masking = True
        self._names = []

    def learns(self, name, initializer, regularizer, constraint):
        """Says that there is a value of that name. It becomes an attribute when the layer is built; how it starts, is
        regularized and constrained become attributes and entries of the config: `slope_initializer` for a slope."""
        setattr(self, f"{name}_initializer", keras.initializers.get(initializer))
        setattr(self, f"{name}_regularizer", keras.regularizers.get(regularizer))
        setattr(self, f"{name}_constraint", keras.constraints.get(constraint))
        self._names.append(name)

    def build(self, input_shape):
        shape = ()
        if self.axis is not None:
            shape = (axes.channels(input_shape, self.axis),)
            axis = axes.positive(self.axis, len(input_shape))
            self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes={axis: shape[0]})
        for name in self._names:
            setattr(self, name, self._add_learned(name, shape))

    def as_floating(self, inputs):
        """Returns the inputs in the dtype the layer computes in: Keras casts floating ones alone."""
        return ops.cast(inputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = {**super().get_config(), "axis": self.axis}
        for name in self._names:
            config[f"{name}_initializer"] = keras.initializers.serialize(getattr(self, f"{name}_initializer"))
            config[f"{name}_regularizer"] = keras.regularizers.serialize(getattr(self, f"{name}_regularizer"))
            config[f"{name}_constraint"] = keras.constraints.serialize(getattr(self, f"{name}_constraint"))
        return config

    def _add_learned(self, name, shape):
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
            dtype="float64" if self.variable_dtype == "float64" else "float32",
            autocast=False,
        )
