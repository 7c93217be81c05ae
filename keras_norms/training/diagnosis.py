"""Where in a network values that are no numbers come from."""

import keras
import tensorflow as tf

from keras_norms.layers import watching


def first_broken(model, loss, images, labels):
    """Returns the first place of a training step that holds infinite values or values that are no numbers, or None.

    Searched in this order: the images, the weights, the outputs of the layers as they are computed, the statistics they
    leave, the losses, and the gradients, from the last layer back. No variable changes.

    Args:
        model: Built Keras model.
        loss: Function of labels and outputs that returns the loss of each example.
        images, labels: Tensors, the batch of one replica.

    Returns:
        A phrase that names the place, such as "the outputs of the layer 'conv1'".
    """
    places = _places(model, loss, images, labels)
    return next((name for name, values in places if not _finite(values)), None)


def _places(model, loss, images, labels):
    yield "the images", images
    for variable in model.variables:
        yield f"the weight {variable.path!r}", variable
    trainable, other = (
        [tf.convert_to_tensor(v) for v in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )
    seen = []
    with tf.GradientTape() as tape, watching.observed(model.layers, lambda *call: seen.append(call)):
        tape.watch(trainable)
        outputs, updates = model.stateless_call(trainable, other, images, training=True)
        losses = loss(labels, outputs)
    for layer, _, _, layer_outputs in seen:
        yield f"the outputs of the layer {layer.name!r}", layer_outputs
    for variable, update in zip(model.non_trainable_variables, updates, strict=True):
        yield f"the statistics {variable.path!r}", update
    yield "the losses", losses
    gradients = tape.gradient(losses, trainable)
    for variable, gradient in reversed(list(zip(model.trainable_variables, gradients, strict=True))):
        yield f"the gradients of {variable.path!r}", gradient


def _finite(values):
    tensors = [tf.convert_to_tensor(value) for value in keras.tree.flatten(values) if value is not None]
    return all(bool(tf.reduce_all(tf.math.is_finite(t))) for t in tensors if t.dtype.is_floating)
