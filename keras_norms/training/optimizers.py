"""Stochastic gradient descent as Caffe and as Torch define it, a learning rate and a decay per kind of weight, and a
loss scale that all replicas agree on."""

import fnmatch

import keras
import tensorflow as tf


def optimizer(recipe, schedule, precision):
    """Returns the Keras optimizer of a recipe, not built.

    Args:
        recipe: `recipes.Recipe`.
        schedule: Keras learning rate schedule.
        precision: String, one of `training.PRECISIONS`; `mixed_float16` needs gradients of a loss that is multiplied by
            the optimizer's `dynamic_scale`.
    """
    kind = {"sgd": CaffeSGD, "torch_sgd": TorchSGD}[recipe.optimizer]
    descent = kind(schedule, momentum=float(recipe.momentum), nesterov=recipe.nesterov)
    return LossScaleOptimizer(descent) if precision == "mixed_float16" else descent


def multipliers(recipe, variables):
    """Returns what multiplies the learning rate of each variable, and its weight decay.

    A training step hands `lr_mult * (gradient + weight_decay * value)` to the optimizer. For stochastic gradient
    descent, which is linear in gradients, this is a learning rate of `lr_mult` times the others'.

    Args:
        recipe: `recipes.Recipe`.
        variables: List of a model's trainable Keras variables.

    Returns:
        List of pairs of floats, `lr_mult` and `weight_decay`, in the order of the variables.

    Raises:
        ValueError: The recipe names a kind of which there is no variable.
    """
    rates, decays = (_by_variable(dict(getattr(recipe, name)), variables, name) for name in ("lr_mult", "decay_mult"))
    return [
        (float(rates.get(v.path, rates["*"])), float(recipe.weight_decay * decays.get(v.path, decays["*"])))
        for v in variables
    ]


@keras.saving.register_keras_serializable(package="keras_norms")
class CaffeSGD(keras.optimizers.SGD):
    """Stochastic gradient descent whose velocity has the learning rate in it, as in Caffe and in Keras.

        velocity = momentum * velocity - learning_rate * gradient
        weight += velocity

    Or, with Nesterov's momentum, `weight += momentum * velocity - learning_rate * gradient`. The numbers are those of
    `keras.optimizers.SGD`, in one operation per weight: the updates of CaffeNet128 take half of its time.

    Args: As of `keras.optimizers.SGD`.

    Example:
    >>> optimizer = keras_norms.training.optimizers.CaffeSGD(0.1, momentum=0.9)
    """

    def update_step(self, gradient, variable, learning_rate):
        if not self.momentum:
            return super().update_step(gradient, variable, learning_rate)
        velocity = self.momentums[self._get_variable_index(variable)]
        return _apply(tf.raw_ops.ResourceApplyKerasMomentum, self, velocity, gradient, variable, learning_rate)


@keras.saving.register_keras_serializable(package="keras_norms")
class TorchSGD(keras.optimizers.SGD):
    """Stochastic gradient descent whose momentum accumulates gradients, as in Torch.

        velocity = momentum * velocity + gradient
        weight -= learning_rate * velocity

    Or, with Nesterov's momentum, `weight -= learning_rate * (gradient + momentum * velocity)`. Keras' and Caffe's
    velocity has the learning rate in it: after the rate has changed they still move at the rate before, for about
    `1 / (1 - momentum)` steps. At a constant rate both are the same. Torch's dampening is 0.

    Args: As of `keras.optimizers.SGD`.

    Example:
    >>> optimizer = keras_norms.training.optimizers.TorchSGD(0.1, momentum=0.9, nesterov=True)

    Reference: [torch.optim.SGD](https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html)
    """

    def update_step(self, gradient, variable, learning_rate):
        if not self.momentum:
            return super().update_step(gradient, variable, learning_rate)
        velocity = self.momentums[self._get_variable_index(variable)]
        return _apply(tf.raw_ops.ResourceApplyMomentum, self, velocity, gradient, variable, learning_rate)


@keras.saving.register_keras_serializable(package="keras_norms")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' optimizer with a dynamic loss scale, right where gradients differ between replicas.

    If gradients of any replica are infinite or no numbers, none updates its weights, and all halve the scale. Keras
    (3.15) looks at those of the first replica alone, which it takes for sums over replicas: with infinite gradients on
    another one, all weights become infinite.

    Args: As of `keras.optimizers.LossScaleOptimizer`.

    Example:
    >>> optimizer = keras_norms.training.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    """

    def check_finite(self, grads):
        broken = tf.cast(tf.logical_not(super().check_finite(grads)), tf.float32)
        return tf.distribute.get_replica_context().all_reduce("SUM", broken) == 0


def _apply(kernel, descent, velocity, gradient, variable, learning_rate):
    return kernel(
        var=variable.handle,
        accum=velocity.value.handle,
        lr=tf.cast(learning_rate, variable.dtype),
        grad=tf.cast(gradient, variable.dtype),
        momentum=tf.cast(descent.momentum, variable.dtype),
        use_nesterov=descent.nesterov,
    )


def _by_variable(factors, variables, name):
    """Returns the factors of variables by their paths, and by `*` that of all that are not named."""
    rest = {"lr_mult": 1.0, "decay_mult": 0.0}[name]
    found = {"*": factors.pop("*", rest)}
    for kind, factor in sorted(factors.items(), key=lambda pair: "/" in pair[0]):  # patterns after names
        fitting = [v.path for v in variables if v.name == kind or ("/" in kind and fnmatch.fnmatchcase(v.path, kind))]
        if not fitting:
            kinds = sorted({variable.name for variable in variables})
            raise ValueError(
                f"`{name}` must name kinds of weights that the network has, {kinds}, patterns of their paths such as "
                f"{variables[0].path!r}, or '*'. Received: {kind!r}."
            )
        found.update(dict.fromkeys(fitting, factor))
    return found
