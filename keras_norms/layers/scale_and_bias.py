"""What the normalizations share: a learned scale and a learned bias, chosen one by one."""

import keras

from keras_norms.layers import arguments
from keras_norms.ops import axes


class WithBias(keras.Layer):
    """Base of the normalizations with a learned bias, or none.

    Args:
        axis: Integer, the channel axis.
        use_bias: Boolean, whether there is a learned summand.
        bias_initializer: Initializer, `"zeros"` if not given.
        bias_regularizer: Regularizer or `None`.
        bias_constraint: Constraint or `None`.
        **kwargs: `name`, `dtype`, `trainable`.
    """

    learned = {"bias": "zeros"}

    def __init__(
        self, axis=-1, use_bias=True, bias_initializer=None, bias_regularizer=None, bias_constraint=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.axis = arguments.integer("axis", axis)
        self.choose("bias", use_bias, bias_initializer, bias_regularizer, bias_constraint)

    def choose(self, name, used, initializer, regularizer, constraint):
        """Takes the options of a learned weight as attributes: `use_bias`, `bias_initializer`, ... for the bias."""
        arguments.unused(name, arguments.boolean(f"use_{name}", used), initializer, regularizer, constraint)
        setattr(self, f"use_{name}", used)
        initializer = initializer or (self.learned[name] if used else None)
        setattr(self, f"{name}_initializer", keras.initializers.get(initializer))
        setattr(self, f"{name}_regularizer", keras.regularizers.get(regularizer))
        setattr(self, f"{name}_constraint", keras.constraints.get(constraint))

    def take_channels(self, input_shape, ranks=(2, 3, 4, 5)):
        """Returns the number of channels, and holds later inputs to it."""
        rank = len(input_shape)
        if rank not in ranks:
            raise ValueError(
                f"The input must have a rank of {ranks[0]} to {ranks[-1]}. Received: input shape={tuple(input_shape)}."
            )
        channels = axes.channels(input_shape, self.axis)
        self.input_spec = keras.layers.InputSpec(ndim=rank, axes={self.axis % rank: channels})
        return channels

    def add_learned(self, shape):
        """Creates the weights that are used, and sets the attributes of the others to None."""
        for name in self.learned:
            setattr(self, name, self.add_vector(name, shape) if getattr(self, f"use_{name}") else None)

    def add_vector(self, name, shape):
        """Creates one learned weight from the attributes with its options."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
            dtype=self.statistics_dtype(),
            autocast=False,
        )

    def statistics_dtype(self):
        """Returns the dtype of weights and statistics, which mixed precision does not lower."""
        return "float64" if self.variable_dtype == "float64" else "float32"

    def compute_output_shape(self, input_shape):
        axes.positive(self.axis, len(input_shape))
        return tuple(input_shape)

    def get_config(self):
        config = {**super().get_config(), "axis": self.axis}
        for name in self.learned:
            config[f"use_{name}"] = getattr(self, f"use_{name}")
            config[f"{name}_initializer"] = keras.initializers.serialize(getattr(self, f"{name}_initializer"))
            config[f"{name}_regularizer"] = keras.regularizers.serialize(getattr(self, f"{name}_regularizer"))
            config[f"{name}_constraint"] = keras.constraints.serialize(getattr(self, f"{name}_constraint"))
        return config


class WithScaleAndBias(WithBias):
    """Base of the normalizations with a learned scale, a learned bias, one of them or none.

    Args:
        use_scale: Boolean, whether there is a learned factor.
        scale_initializer: Initializer, `"ones"` if not given.
        scale_regularizer: Regularizer or `None`.
        scale_constraint: Constraint or `None`.
        **kwargs: The arguments of `WithBias`.
    """

    learned = {"scale": "ones", "bias": "zeros"}

    def __init__(self, use_scale=True, scale_initializer=None, scale_regularizer=None, scale_constraint=None, **kwargs):
        super().__init__(**kwargs)
        self.choose("scale", use_scale, scale_initializer, scale_regularizer, scale_constraint)
