"""The linear layers that an affine map can go into, or why there are none."""

from keras_norms.surgery import fold_parts


class LeftError(Exception):
    """Why a map is left where it is."""


def check(step):
    """Raises an error unless a step is the same affine map in all inference."""
    affine = step.part
    if affine.obstacle is not None:
        raise LeftError(affine.obstacle)
    if step.in_training and affine.learns:
        raise LeftError("it is called with `training=True`")
    if step.inputs[0].dtype != step.outputs[0].dtype:
        raise LeftError(f"it turns {step.inputs[0].dtype} into {step.outputs[0].dtype}")


def source(step, path):
    """Returns the step of the linear layer before an affine map, and the name of the channels of its outputs.

    Args:
        step: `Step` of the map.
        path: Function of a Keras layer. Returns its path.

    Raises:
        LeftError: There is none.
    """
    affine, tensor = step.part, step.inputs[0]
    axis = affine.along(len(tensor.shape))
    while True:
        others = [path(other.part.layer) for other in tensor.consumers if other.part.layer is not step.part.layer]
        if tensor.is_output:
            raise LeftError("what it reads is an output of the model, too")
        if len(tensor.consumers) > 1:
            raise LeftError(f"what it reads is used elsewhere, too: {', '.join(others) or path(affine.layer)}")
        step = tensor.producer
        if step is None:
            raise LeftError("it reads an input of the model")
        if isinstance(step.part, fold_parts.Linear):
            return step, _output_channel(step, axis, path)
        axis = _before(step, axis, affine, path)
        tensor = step.inputs[0]


def targets(step, path):
    """Returns the linear layers after an affine map, if nothing else reads what it returns.

    Args:
        step: `Step` of the map.
        path: Function of a Keras layer. Returns its path.

    Returns:
        List of tuples of the step of a linear layer, the name of the channels of its inputs, and the scale and the
        shift of each of them.

    Raises:
        LeftError: There is none, or something else reads it.
    """
    affine = step.part
    found, axis = [], affine.along(len(step.outputs[0].shape))
    open_ends = [(step.outputs[0], axis, affine.scale, affine.shift)]
    while open_ends:
        tensor, axis, scale, shift = open_ends.pop()
        if tensor.is_output:
            raise LeftError("what it returns is an output of the model")
        for consumer in tensor.consumers:
            if isinstance(consumer.part, fold_parts.Linear):
                channel = _input_channel(consumer, axis, shift, path)
                found.append((consumer, channel, scale, shift))
            else:
                behind = _behind(consumer, tensor, (axis, scale, shift), path)
                open_ends.append((consumer.outputs[0], *behind))
    if not found:
        raise LeftError("nothing reads what it returns")
    return found


def _output_channel(step, axis, path):
    linear = step.part
    _check_linear(step, path)
    if linear.activated:
        raise LeftError(f"{path(linear.layer)} has an activation of its own")
    channel = linear.weights.output_channel(axis, len(step.outputs[0].shape))
    if channel is None:
        raise LeftError(f"its axis is not that of the channels of {path(linear.layer)}")
    return channel


def _input_channel(step, axis, shift, path):
    linear = step.part
    _check_linear(step, path)
    if linear.weights.adds_zeros and shift.any():
        raise LeftError(f"{path(linear.layer)} {linear.weights.adds}")
    channel = linear.weights.input_channel(axis, len(step.inputs[0].shape))
    if channel is None:
        raise LeftError(f"its axis is not that of the channels {path(linear.layer)} reads")
    return channel


def _check_linear(step, path):
    if step.in_training and step.part.learns:
        raise LeftError(f"{path(step.part.layer)} is called with `training=True`")


def _before(step, axis, affine, path):
    """Returns the axis before a step that is `axis` behind it."""
    _check_passing(step, affine.scale, affine.shift, path)
    if isinstance(step.part, fold_parts.Affine):
        return axis
    before = step.part.backward(axis, step)
    if before == "none":
        raise LeftError(f"{path(step.part.layer)} does not keep its channels apart")
    return before


def _behind(step, tensor, values, path):
    """Returns axis, scale and shift of a map behind a step."""
    if tensor is not step.inputs[0] or tensor in step.inputs[1:]:
        raise LeftError(f"{path(step.part.layer)} {step.part.does}")
    _check_passing(step, *values[1:], path)
    if isinstance(step.part, fold_parts.Affine):
        return values
    behind = step.part.forward(*values, step)
    if behind is None:
        raise LeftError(f"{path(step.part.layer)} does not keep its channels apart")
    return behind


def _check_passing(step, scale, shift, path):
    part, name = step.part, path(step.part.layer)
    if isinstance(part, fold_parts.Affine):
        if not part.folded_into:
            raise LeftError(f"{name} between them is not folded")
    elif not isinstance(part, fold_parts.Passing):
        raise LeftError(f"{name} {part.does}")
    elif step.in_training and part.learns:
        raise LeftError(f"{name} is called with `training=True`")
    elif part.mixes and len(step.inputs) > 1:
        raise LeftError(f"{name} has a mask")
    elif part.obstacle(scale, shift) is not None:
        raise LeftError(f"{name} {part.obstacle(scale, shift)}")
    if step.inputs[0].dtype != step.outputs[0].dtype:
        raise LeftError(f"{name} turns {step.inputs[0].dtype} into {step.outputs[0].dtype}")
