"""Which part of a model reads what which other part returns, with the models nested in it laid open."""

import dataclasses

import keras


@dataclasses.dataclass(eq=False)
class Tensor:
    """What a part returns in one call.

    Attributes:
        shape: Tuple of integers and None.
        dtype: String.
        producer: `Step` that returns it; None for an input.
        consumers: List of the `Step`s that read it, one of them twice if it reads it twice.
        is_output: Boolean, whether it is an output of the model.
    """

    shape: tuple
    dtype: str
    producer: "Step" = None
    consumers: list = dataclasses.field(default_factory=list)
    is_output: bool = False


@dataclasses.dataclass(eq=False)
class Step:
    """One call of one part of a layer.

    Attributes:
        part: The part; see `fold_parts`.
        inputs: List of `Tensor`s. The first is the one that the layer works on.
        outputs: List of `Tensor`s.
        in_training: Boolean, whether the call asks for what the layer does in training.
    """

    part: object
    inputs: list
    outputs: list
    in_training: bool


def steps(models, parts_of, is_open):
    """Returns the steps of models, in an order in which they can be taken.

    Args:
        models: Sequence of functional and sequential models whose outputs are all used.
        parts_of: Function of a layer or operation. Returns the list of its parts, of which each reads what the one
            before it returns.
        is_open: Function of a layer. Returns whether it is a model to be laid open.

    Returns:
        List of `Step`s.
    """
    tracing = _Tracing(parts_of, is_open)
    for model in models:
        inputs = [Tensor(tuple(x.shape), x.dtype) for x in model.inputs]
        for tensor in tracing.lay_open(model, inputs, in_training=False):
            tensor.is_output = True
    return tracing.steps


class _Tracing:
    """The steps so far."""

    def __init__(self, parts_of, is_open):
        self.steps = []
        self._parts_of = parts_of
        self._is_open = is_open

    def lay_open(self, model, inputs, in_training):
        """Adds the steps of a call of a model, and returns its outputs."""
        # A sequential model has its graph in private alone; a functional one of its tensors has it, too.
        functional = keras.Model(model.inputs, model.outputs)
        tensors = dict(zip(map(id, model.inputs), inputs, strict=True))
        # Private: Keras 3.15 tells in no other way which call reads what.
        for _, nodes in sorted(functional._nodes_by_depth.items(), reverse=True):
            for node in nodes:
                if not node.is_input:
                    read = [tensors[id(x)] for x in node.input_tensors]
                    returned = self._call(node, read, in_training or _asks_for_training(node))
                    tensors.update(zip(map(id, node.outputs), returned, strict=True))
        return [tensors[id(x)] for x in model.outputs]

    def _call(self, node, inputs, in_training):
        operation = node.operation
        if self._is_open(operation):
            return self.lay_open(operation, inputs[: len(operation.inputs)], in_training)
        *before, last = self._parts_of(operation)
        for part in before:
            between = Tensor(part.output_shape(inputs[0].shape), node.outputs[0].dtype)
            self._add(part, inputs, [between], in_training)
            inputs = [between]
        outputs = [Tensor(tuple(x.shape), x.dtype) for x in node.outputs]
        self._add(last, inputs, outputs, in_training)
        return outputs

    def _add(self, part, inputs, outputs, in_training):
        step = Step(part, inputs, outputs, in_training)
        self.steps.append(step)
        for tensor in inputs:
            tensor.consumers.append(step)
        for tensor in outputs:
            tensor.producer = step


def _asks_for_training(node):
    training = node.arguments.kwargs.get("training")
    # A mask or a flag given by position is not told apart from other arguments.
    others = node.arguments.args[1:]
    return bool(training is not None and training is not False) or any(x is True for x in others)
