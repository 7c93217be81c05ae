"""One step of training and of testing, on all replicas.

What a replica computes is a pure function of (trainable values, other values,
batch): no variable is read or written in it, so that XLA can compile it inside the
replica, where compiling the whole step fails (Keras 3.15: keras#20763). Collectives
and the optimizer stand outside. Synchronized batch norm has collectives of its own
and needs the uncompiled form.
"""

import keras
import tensorflow as tf


def training_step(model, optimizer, strategy, recipe, loss_weights, compiled, position, batches):
    """Returns a `tf.function` of a distributed batch that trains the model by one step.

    Args:
        model: Built Keras model that returns logits, or a dict of them with the one that is tested as `"main"`.
        optimizer: Keras optimizer, built.
        strategy: `tf.distribute.Strategy` under which both were made.
        recipe: `recipes.Recipe`, for batch size and weight decay.
        loss_weights: Dict from outputs to weights, or None for a model with one output.
        compiled: Boolean, whether XLA compiles what a replica computes.
        position: `checkpoints.Position`, moved on in the same call, so that it never tells of half a step.
        batches: Distributed dataset or iterator of (images, labels).

    Returns:
        Function of the batch that returns a vector: the sums since the start of the epoch of the main output's
        cross-entropy and of correct answers, and the number of examples.
    """
    decays = [
        recipe.weight_decay / strategy.num_replicas_in_sync * (v.name == "kernel") for v in model.trainable_variables
    ]

    def gradients_of(trainable, other, loss_scale, images, labels):
        with tf.GradientTape() as tape:
            tape.watch(trainable)
            outputs, updates = model.stateless_call(trainable, other, images, training=True)
            losses = _losses(outputs, labels)
            # Gradients are summed over replicas: each divides by the batch of all of them.
            minimized = tf.reduce_sum(_weighted(losses, loss_weights)) * loss_scale / recipe.batch_size
        gradients = tape.gradient(minimized, trainable)
        decayed = [
            gradient + decay * loss_scale * value if decay else gradient
            for gradient, decay, value in zip(gradients, decays, trainable, strict=True)
        ]
        return _sums(outputs, losses, labels, tf.ones_like(losses["main"])), decayed, updates

    pure = tf.function(gradients_of, jit_compile=True) if compiled else gradients_of

    def replica_step(images, labels):
        other = _values(model.non_trainable_variables)
        loss_scale = getattr(optimizer, "dynamic_scale", 1.0)
        sums, gradients, updates = pure(
            _values(model.trainable_variables), _with_own_seeds(other), tf.convert_to_tensor(loss_scale), images, labels
        )
        for variable, update, before in zip(model.non_trainable_variables, updates, other, strict=True):
            variable.assign(_with_common_seed(update, before))
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return sums

    @tf.function(input_signature=[batches.element_spec])
    def step(batch):
        sums = strategy.reduce("SUM", strategy.run(replica_step, args=batch), axis=None)
        position.step.assign_add(1)
        return position.sums.assign_add(sums)

    return step


def test_step(model, strategy, compiled, batches):
    """Returns a `tf.function` of a distributed batch that tests the model.

    Args:
        model, strategy, compiled: See `training_step`.
        batches: Distributed dataset of (images, labels, weights).

    Returns:
        Function of the batch that returns the same sums as `training_step`, of the batch's examples with weight 1.
    """

    def sums_of(trainable, other, images, labels, weights):
        outputs, _ = model.stateless_call(trainable, other, images, training=False)
        return _sums(outputs, _losses(outputs, labels), labels, weights)

    pure = tf.function(sums_of, jit_compile=True) if compiled else sums_of

    @tf.function(input_signature=[batches.element_spec])
    def step(batch):
        # Read here, across replicas: moving statistics are the means over them.
        values = _values(model.trainable_variables), _values(model.non_trainable_variables)
        return strategy.reduce("SUM", strategy.run(pure, args=(*values, *batch)), axis=None)

    return step


def objective(loss_weights):
    """Returns a function of labels and outputs that returns what is minimized, of each example, without decay.

    Args:
        loss_weights: See `training_step`.
    """
    return lambda labels, outputs: _weighted(_losses(outputs, labels), loss_weights)


def _values(variables):
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def _heads(outputs):
    heads = outputs if isinstance(outputs, dict) else {"main": outputs}
    return {name: tf.cast(logits, tf.float32) for name, logits in heads.items()}


def _losses(outputs, labels):
    """Returns the cross-entropy of each example, by output."""
    return {
        name: keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        for name, logits in _heads(outputs).items()
    }


def _weighted(losses, loss_weights):
    return sum((loss_weights or {"main": 1.0})[name] * loss for name, loss in losses.items())


def _sums(outputs, losses, labels, weights):
    correct = tf.cast(tf.argmax(_heads(outputs)["main"], -1, labels.dtype) == labels, tf.float32)
    return tf.stack([tf.reduce_sum(values * weights) for values in (losses["main"], correct, tf.ones_like(correct))])


def _with_own_seeds(values):
    """Returns the values with the states of random generators, (seed, counter), moved apart between replicas."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    apart = tf.cast(replica, tf.int64) * tf.constant([1_000_003, 0], tf.int64)
    return [value + apart if _is_seed(value) else value for value in values]


def _with_common_seed(update, before):
    """Returns the update of a generator's state with the seed of all replicas; other updates as they are."""
    return tf.stack([before[0], update[1]]) if _is_seed(update) else update


def _is_seed(value):
    return value.dtype == tf.int64 and value.shape == (2,)
