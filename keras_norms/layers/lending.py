"""A call of a layer with other values in place of some of its variables, which keep theirs."""

import keras


def call_with(layer, lent, *args, **kwargs):
    """Calls a layer with values lent to some of its variables.

    Nothing is assigned to a variable that has been lent a value. What the layer assigns to its others (moving
    statistics, random states) reaches them, and losses it adds are returned.

    Args:
        layer: Built Keras layer.
        lent: Sequence of pairs of a variable of the layer and the value that stands for it.
        *args, **kwargs: The arguments of the call.

    Returns:
        The outputs of the layer, and the list of the losses it has added.
    """
    lent_to = {id(variable) for variable, _ in lent}
    # All variables, the others with their own values: a scope inside that of a `stateless_call` hides its values.
    own = [(variable, variable.value) for variable in layer.variables if id(variable) not in lent_to]
    with keras.StatelessScope([*lent, *own], collect_losses=True) as scope:
        before = dict(scope.state_mapping)
        outputs = layer(*args, **kwargs)
    for variable, _ in own:
        after = scope.get_current_value(variable)
        if after is not before[id(variable)]:
            variable.assign(after)
    return outputs, scope.losses
