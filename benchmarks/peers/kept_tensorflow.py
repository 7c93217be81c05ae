"""What a TensorFlow graph keeps from its forward part for its backward part."""

import tensorflow as tf

# The same memory as the first input of the operation.
ALIASES = {"Identity", "IdentityN", "Reshape", "StopGradient", "Squeeze", "ExpandDims", "PreventGradient"}
# Held anyway, or no memory of the size of the activations.
HELD = {"ReadVariableOp", "Const", "VarHandleOp", "Shape", "ShapeN", "Size", "Rank"}
# Of these tensors the operation needs no value.
SHAPES = {"Shape", "ShapeN", "Size", "Rank"}


def kept_bytes(model, shape, dtype):
    """Returns the bytes of the tensors that a model's forward operations produce and backward operations read.

    Counted in the graph as traced, each memory once, without variables, constants and shapes. What is rewritten later,
    as by oneDNN, is not seen. An input that is read backwards counts: in a network it is the output of another layer.

    Args:
        model: Keras model of one input and one output, in training.
        shape, dtype: Of the input.
    """
    forward_operations = []

    @tf.function
    def traced(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        forward_operations.extend(x.graph.get_operations())
        return tape.gradient(y, [x, *(weight.value for weight in model.trainable_variables)])

    graph = traced.get_concrete_function(tf.TensorSpec(shape, dtype)).graph
    made = {operation.name for operation in forward_operations}
    kept = {}
    for operation in graph.get_operations():
        if operation.name not in made and operation.type not in SHAPES:
            for tensor in map(origin, operation.inputs):
                if tensor.op.name in made and tensor.op.type not in HELD and tensor.dtype != tf.resource:
                    kept[tensor.name] = (tensor.shape.num_elements() or 0) * tensor.dtype.size
    return sum(kept.values())


def origin(tensor):
    """Returns the tensor whose memory this is."""
    while tensor.op.type in ALIASES:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor
