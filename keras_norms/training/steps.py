"""One step of training and of testing, on all replicas of all workers.

What a replica computes is a pure function of (trainable values, other values,
batch): no variable is read or written in it, so that XLA can compile it inside the
replica, where compiling the whole step fails (Keras 3.15: keras#20763). Collectives
and the optimizer stand outside. Synchronized batch norm has collectives of its own
and needs the uncompiled form.

After each step all replicas hold the same weights and the same moving statistics:
the means of what each would have gone on with.
"""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_norms.layers import counted_rows


@dataclasses.dataclass(frozen=True)
class Computation:
    """What a step computes, and where.

    Attributes:
        model: Built Keras model that returns logits, or a dict of them with the one that is tested as `"main"`.
        strategy: `tf.distribute.Strategy` under which it was made.
        loss_weights: Dict from outputs to weights, or None for a model with one output.
        compiled: Boolean, whether XLA compiles what a replica computes.
        filled: Boolean, whether training batches may hold rows that do not count. Batch statistics then leave them
            out, for which TensorFlow's fused kernel has no means.
    """

    model: keras.Model
    strategy: tf.distribute.Strategy
    loss_weights: dict | None = None
    compiled: bool = False
    filled: bool = False

    def function(self, function):
        """Returns the function, compiled with XLA or as it is."""
        return tf.function(function, jit_compile=True) if self.compiled else function


class Progress(NamedTuple):
    """What a training step tells.

    Attributes:
        sums: Vector, the sums since the start of the epoch of the main output's cross-entropy and of correct answers,
            and the number of examples.
        broken: Scalar, how many replicas have computed batch statistics that are no numbers.
        stopping: Scalar, above 0 if a worker wants to stop after this step.
    """

    sums: tf.Tensor
    broken: tf.Tensor
    stopping: tf.Tensor


def training_step(computation, state, recipe, batches):
    """Returns a `tf.function` of a distributed batch that trains the model by one step.

    Args:
        computation: `Computation`.
        state: `state.State` of the computation's model. Its position and the average of its weights move on in the
            same call, so that it never tells of half a step.
        recipe: `recipes.Recipe`.
        batches: Distributed iterator of (images, labels, weights). The weights of all replicas' examples sum to 1.

    Returns:
        Function of the batch, and of a scalar above 0 to tell all workers to stop, that returns `Progress`.
    """
    model, strategy = computation.model, computation.strategy
    optimizer, position = model.optimizer, state.position

    def gradients_of(trainable, other, loss_scale, images, labels, weights):
        outputs, updates = _called(computation, trainable, other, images, weights > 0)
        losses = _losses(outputs, labels)
        minimized = tf.reduce_sum(_weighted(losses, computation.loss_weights) * weights) * loss_scale
        # Not a tape: it adds up all gradients of a tensor that is used several times at once, see below.
        by_twos = tf.AggregationMethod.EXPERIMENTAL_TREE
        gradients = tf.gradients(minimized, trainable, aggregation_method=by_twos)
        if computation.filled:
            # Where no row counts, those there are grow from norm to norm, to infinity: 0 times that is no number.
            counting = tf.reduce_any(weights > 0)
            gradients = [tf.where(counting, gradient, tf.zeros_like(gradient)) for gradient in gradients]
        return _sums(outputs, losses, labels, tf.cast(weights > 0, tf.float32)), gradients, updates

    pure = computation.function(gradients_of)
    # TensorFlow adds up three tensors or more in an order that depends on which is ready first, so that two runs differ
    # in their last bits, as GoogLeNet's do. Its optimizer of graphs joins sums of two to such sums (TensorFlow 2.21).
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})

    def replica_step(images, labels, weights, stopping):
        trainable, other = _values(model.trainable_variables), _values(model.non_trainable_variables)
        loss_scale = tf.convert_to_tensor(getattr(optimizer, "dynamic_scale", 1.0))
        parts = _parts((images, labels, weights), recipe.micro_batches)
        sums, gradients, updates = _accumulated(pure, trainable, _with_own_seeds(other), loss_scale, parts)
        updates, broken = _agreed(model.non_trainable_variables, updates, other)
        for variable, update in zip(model.non_trainable_variables, updates, strict=True):
            variable.assign(update)
        # Gradients are summed over the replicas, and so are these parts of the decay.
        share = loss_scale / strategy.num_replicas_in_sync
        optimizer.apply_gradients(
            (factor * (gradient + decay * share * value if decay else gradient), variable)
            for (factor, decay), gradient, value, variable in zip(
                state.multipliers, gradients, trainable, model.trainable_variables, strict=True
            )
        )
        return tf.concat([sums, [broken, stopping]], 0)

    @tf.function(input_signature=[batches.element_spec, tf.TensorSpec((), tf.float32)])
    def step(batch, stopping):
        told = strategy.reduce("SUM", strategy.run(replica_step, args=(*batch, stopping)), axis=None)
        position.step.assign_add(1)
        if state.average:
            state.average.move()
        sums = position.sums.assign_add(told[:3])
        if recipe.warmup_error is not None:
            ended = 1.0 - sums[1] / sums[2] < recipe.warmup_error
            made = tf.cast(optimizer.iterations.value, tf.int64)  # what the schedule counts by
            position.warm_up_end.assign(tf.minimum(position.warm_up_end, tf.where(ended, made, tf.int64.max)))
        return Progress(sums, told[3], told[4])

    return step


def test_step(computation, sums_of, batches):
    """Returns a `tf.function` of a distributed batch that tests the model.

    Args:
        computation: `Computation`.
        sums_of: Pure function of trainable values, other values, images, labels and weights that returns a vector of
            sums over a replica's examples.
        batches: Distributed iterator of (images, labels, weights), weights 1 or 0.

    Returns:
        Function of the batch that returns the sums over all replicas, as float64.
    """
    model, strategy = computation.model, computation.strategy
    pure = computation.function(sums_of)

    def replica_step(images, labels, weights):
        values = _values(model.trainable_variables), _values(model.non_trainable_variables)
        return pure(*values, images, labels, weights)

    @tf.function(input_signature=[batches.element_spec])
    def step(batch):
        return tf.cast(strategy.reduce("SUM", strategy.run(replica_step, args=batch), axis=None), tf.float64)

    return step


def objective(loss_weights):
    """Returns a function of labels and outputs that returns what is minimized, of each example, without decay.

    Args:
        loss_weights: See `Computation`.
    """
    return lambda labels, outputs: _weighted(_losses(outputs, labels), loss_weights)


def _called(computation, trainable, other, images, rows):
    if not computation.filled:
        return computation.model.stateless_call(trainable, other, images, training=True)
    with counted_rows.counted(rows):
        return computation.model.stateless_call(trainable, other, images, training=True)


def _values(variables):
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def _parts(batch, count):
    """Returns a batch cut into parts of one size, the last one filled up with rows of weight 0."""
    missing = -batch[0].shape[0] % count
    filled = (tf.pad(tensor, [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1)) for tensor in batch)
    return list(zip(*(tf.split(tensor, count) for tensor in filled), strict=True))


def _accumulated(pure, trainable, other, loss_scale, parts):
    """Returns the sums and the gradients of all parts, and the other values after the last one.

    The parts are computed one after the other, so that the activations of one alone are in memory.
    """
    sums, gradients, other = pure(trainable, other, loss_scale, *parts[0])
    for part in parts[1:]:
        with tf.control_dependencies([sums, *gradients]):
            more, further, other = pure(trainable, other, loss_scale, *part)
            sums += more
            gradients = [a + b for a, b in zip(gradients, further, strict=True)]
    return sums, gradients, other


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
    # Not a product: the loss of a row that does not count may be infinite.
    counted = [tf.where(weights > 0, value, 0.0) for value in (losses["main"], correct, weights)]
    return tf.stack([tf.reduce_sum(value) for value in counted])


def _agreed(variables, updates, before):
    """Returns what all replicas assign to variables, and 1.0 if this replica's statistics are no numbers, else 0.0.

    Statistics are averaged over all replicas, in one collective. A generator's state is that of all replicas.
    """
    updates = [_with_common_seed(update, value) for update, value in zip(updates, before, strict=True)]
    averaged = [i for i, variable in enumerate(variables) if variable.aggregation == "mean"]
    if not averaged:
        return updates, tf.constant(0.0)
    packed = tf.concat([tf.reshape(updates[i], [-1]) for i in averaged], 0)
    broken = tf.cast(~tf.reduce_all(tf.math.is_finite(packed)), tf.float32)
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync > 1:
        packed = context.all_reduce(tf.distribute.ReduceOp.MEAN, packed)
    lengths = [variables[i].value.shape.num_elements() for i in averaged]
    for i, part in zip(averaged, tf.split(packed, lengths), strict=True):
        updates[i] = tf.reshape(part, updates[i].shape)
    return updates, broken


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
