"""What layers share that compute the weights of another layer from its variables."""

import inspect

import keras

from keras_norms.layers import arguments, kept_axes, lending


class Reparameterization(keras.layers.Wrapper):
    """Base of the wrappers that compute a layer's weights in each call.

    The variables of the wrapped layer stay what the optimizer trains. In each call their effective values are computed
    from them and lent to the layer for that call; nothing is written. A subclass says how, in `effective`.

    Args:
        layer: Keras layer. A layer with several inputs must have been built.
        weight: String or sequence of strings, the attributes that hold the weights. A path such as `"cell.kernel"`
            reaches into the layer's own layers, a number in it into a list: `"cells.0.kernel"`.
        axis: Integer or sequence of integers, the axes of the output units, for all named weights; an empty sequence
            for one unit. `None` for those of `kept_axes.output_axes`.
        **kwargs: `name`, `trainable`. The dtype is that of the wrapped layer.
    """

    def __init__(self, layer, weight="kernel", axis=None, **kwargs):
        # Without casting: the effective weights are computed from the variables as they are, and the wrapped layer
        # casts for itself.
        if "dtype" in kwargs:
            raise ValueError(f"Give the `dtype` to the wrapped layer. Received: dtype={kwargs['dtype']!r}.")
        if isinstance(layer, keras.Layer):
            kwargs.update(dtype=layer.variable_dtype, autocast=False)
        super().__init__(layer, **kwargs)
        _check_cell(layer)
        # Tuples, for Keras makes lists its own kind of list.
        self.weight = tuple(weight) if isinstance(weight, list | tuple) else weight
        self.axis = tuple(axis) if isinstance(axis, list | tuple) else axis
        if not self.names or not all(isinstance(name, str) for name in self.names):
            raise ValueError(f"`weight` must be the name of a weight, or several. Received: weight={weight!r}.")
        self.supports_masking = layer.supports_masking

    @property
    def names(self):
        """The names of the weights."""
        return self.weight if isinstance(self.weight, tuple) else (self.weight,)

    def build(self, input_shape=None):
        _check_inputs(self.layer)
        super().build(input_shape)
        variables = [self.variable(name) for name in self.names]
        if len(set(map(id, variables))) < len(variables):
            raise ValueError(f"`weight` must name each variable once. Received: weight={self.weight!r}.")
        for name, variable in zip(self.names, variables, strict=True):
            self.build_weight(name, variable, self.kept(name))

    def build_weight(self, name, variable, kept):
        """Creates the variables that belong to a weight of the wrapped layer. Here none."""

    def effective(self, name, variable, kept):
        """Returns what the wrapped layer computes with.

        Args:
            name: String, the weight's name.
            variable: Keras variable of the wrapped layer.
            kept: Tuple of integers, the axes of the output units.
        """
        raise NotImplementedError

    def effective_weights(self):
        """Returns a dict from the names of the weights to the values the wrapped layer computes with."""
        return {name: self.effective(name, self.variable(name), self.kept(name)) for name in self.names}

    def variable(self, name):
        """Returns the variable of the wrapped layer that is called `name`."""
        return self._found(name)[1]

    def kept(self, name):
        """Returns the axes of the output units of the weight called `name`, integers from 0."""
        owner, variable = self._found(name)
        if self.axis is not None:
            return kept_axes.given(self.axis, variable.shape)
        return kept_axes.output_axes(owner, name.rpartition(".")[2], len(variable.shape))

    def call(self, inputs, *args, **kwargs):
        lent = [(self.variable(name), value) for name, value in self.effective_weights().items()]
        outputs, losses = lending.call_with(self.layer, lent, inputs, *args, **kwargs)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def compute_output_spec(self, *args, **kwargs):
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, *args, **kwargs):
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, inputs, previous_mask):
        return self.layer.compute_mask(inputs, previous_mask)

    @property
    def state_size(self):
        """That of a wrapped recurrent cell."""
        return self.layer.state_size

    @property
    def output_size(self):
        """That of a wrapped recurrent cell."""
        return self.layer.output_size

    def get_initial_state(self, *args, **kwargs):
        """Returns that of a wrapped recurrent cell."""
        return self.layer.get_initial_state(*args, **kwargs)

    def get_config(self):
        config = {**super().get_config(), "weight": self.weight, "axis": self.axis}
        del config["dtype"]
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # Not that of Keras, which takes the layer out of the caller's config.
        if "layer" in config:
            layer = keras.saving.deserialize_keras_object(config["layer"], custom_objects=custom_objects)
            config = {**config, "layer": layer}
        return cls(**config)

    def _found(self, name):
        owner = variable = self.layer
        try:
            for part in name.split("."):
                while isinstance(variable, Reparameterization) and not hasattr(variable, part):
                    variable = variable.layer
                owner = variable if isinstance(variable, keras.Layer) else owner
                is_sequence = isinstance(variable, list | tuple)
                variable = variable[int(part)] if is_sequence else getattr(variable, part)
        except (AttributeError, IndexError, ValueError):
            variable = None
        if id(variable) not in {id(v) for v in self.layer.variables}:
            raise ValueError(
                f"`weight` must name variables of the wrapped layer {self.layer.name!r}, which has "
                f"{[v.path for v in self.layer.variables]}. Received: weight={name!r}."
            )
        if not keras.backend.is_float_dtype(variable.dtype):
            raise ValueError(
                f"The weights must be floating-point numbers: a quantized layer cannot be reparameterized. "
                f"Received: weight={name!r} of dtype {variable.dtype}."
            )
        return owner, variable


class WithScale(Reparameterization):
    """Base of those with a learned scale per output unit.

    Args:
        layer, weight, axis: See `Reparameterization`.
        use_scale: Boolean, whether there is a learned scale.
        epsilon: Float above 0.
        scale_initializer: Initializer; `None` for what `first_scale` says.
        scale_regularizer: Regularizer or `None`.
        scale_constraint: Constraint or `None`.
        **kwargs: `name`, `trainable`.
    """

    def __init__(
        self,
        layer,
        weight,
        axis,
        use_scale,
        epsilon,
        scale_initializer=None,
        scale_regularizer=None,
        scale_constraint=None,
        **kwargs,
    ):
        super().__init__(layer, weight, axis, **kwargs)
        self.use_scale = arguments.boolean("use_scale", use_scale)
        arguments.unused("scale", use_scale, scale_initializer, scale_regularizer, scale_constraint)
        self.scale_initializer = keras.initializers.get(scale_initializer)
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)
        self.scale_constraint = keras.constraints.get(scale_constraint)
        self.epsilon = arguments.positive("epsilon", epsilon)
        self.scales = {}

    def first_scale(self, variable, kept):
        """Returns the initializer of the scale that belongs to a weight, where none is given."""
        raise NotImplementedError

    def build_weight(self, name, variable, kept):
        if not self.use_scale:
            return
        self.scales[name] = self.add_weight(
            name=f"{name.replace('.', '_')}_scale",
            shape=[variable.shape[axis] for axis in kept],
            initializer=self.scale_initializer or self.first_scale(variable, kept),
            regularizer=self.scale_regularizer,
            constraint=self.scale_constraint,
            dtype="float64" if self.variable_dtype == "float64" else "float32",
            autocast=False,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "use_scale": self.use_scale,
            "epsilon": self.epsilon,
            "scale_initializer": keras.initializers.serialize(self.scale_initializer),
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer),
            "scale_constraint": keras.constraints.serialize(self.scale_constraint),
        }


def _check_inputs(layer):
    needed = [p for p in inspect.signature(layer.build).parameters.values() if p.default is p.empty and p.kind < 2]
    if len(needed) > 1 and not layer.built:
        raise ValueError(
            "A layer with several inputs must be built before it is wrapped: call it once. "
            f"Received: layer={layer}, which builds from {[p.name for p in needed]}."
        )


def _check_cell(layer):
    # Keras' recurrent layers clear the dropout masks of the cells they hold, not of cells inside wrappers.
    if hasattr(layer, "state_size") and (getattr(layer, "dropout", 0) or getattr(layer, "recurrent_dropout", 0)):
        if isinstance(layer, keras.layers.RNN):
            return
        raise ValueError(
            "A recurrent cell with dropout cannot be wrapped. Wrap the recurrent layer that holds it, with "
            f"`weight='cell.kernel'`. Received: layer={layer}."
        )
