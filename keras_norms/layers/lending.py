"""A call of a layer with other values in place of some of its variables, which keep theirs."""

import keras


def call_with(layer, lent, *args, **kwargs):
    """Calls a layer with values lent to some of its variables.

    Nothing is assigned to a variable that has been lent a value. What the layer assigns to others (moving statistics,
    random states, states of recurrent layers) reaches them.

    Args:
        layer: Built Keras layer.
        lent: Sequence of pairs of a variable of the layer and the value that stands for it.
        *args, **kwargs: The arguments of the call.

    Returns:
        The outputs of the layer, and the list of the losses it has added. Within another scope, that of a
        `stateless_call`, it is empty: they are in that scope, as those of the layer that added them.
    """
    with _Lending(lent) as scope:
        outputs = layer(*args, **kwargs)
    scope.pass_updates_on()
    outer = scope.original_scope
    if outer is None:
        return outputs, scope.losses
    if outer.collect_losses:
        for loss in scope.losses:
            outer.add_loss(loss)
    return outputs, []


class _Lending(keras.StatelessScope):
    """A scope that knows the values lent, and asks the scope outside for all others."""

    def __init__(self, lent):
        super().__init__(lent, collect_losses=True)
        self._lent = {id(variable) for variable, _ in lent}
        self._updated = {}

    def add_update(self, update):
        variable, _ = update
        self._updated[id(variable)] = variable
        super().add_update(update)

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value

    def pass_updates_on(self):
        """Assigns what has been assigned inside, but for the values lent."""
        for key, variable in self._updated.items():
            if key not in self._lent:
                variable.assign(self.state_mapping[key])
