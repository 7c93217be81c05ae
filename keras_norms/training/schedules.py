"""How the learning rate rises and falls, by name."""

import keras
import tensorflow as tf


def schedule(recipe, total_steps, warm_up_end=None):
    """Returns the Keras learning rate schedule of a recipe.

    Args:
        recipe: `recipes.Recipe`.
        total_steps: Integer, the length of the training.
        warm_up_end: Scalar int64 variable, the step in which a warm-up until an error has ended, and a larger number
            than any step before. Needed for a recipe with `warmup_error` alone.

    Raises:
        ValueError: It is needed and missing.
    """
    falling = _SCHEDULES[recipe.schedule](recipe, total_steps)
    if recipe.warmup_error is not None:
        if warm_up_end is None:
            raise ValueError("`warm_up_end` must be a variable for a recipe with `warmup_error`. Received: None.")
        return ConstantWarmUp(falling, recipe.warmup_rate, warm_up_end)
    if not recipe.warmup_steps:
        return falling
    if recipe.warmup_rate is not None:
        return ConstantWarmUp(falling, recipe.warmup_rate, recipe.warmup_steps)
    return LinearWarmUp(falling, recipe.warmup_steps)


@keras.saving.register_keras_serializable(package="keras_norms")
class LinearWarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly, from above zero in the first step, to what another schedule says after the warm-up.

        rate(step) = after(steps) * (step + 1) / (steps + 1)    for step < steps, then after(step)

    Args:
        after: Keras learning rate schedule.
        steps: Integer, the length of the warm-up.

    Reference: [Goyal et al., 2017](https://arxiv.org/abs/1706.02677)
    """

    def __init__(self, after, steps):
        super().__init__()
        self.after = after
        self.steps = steps

    def __call__(self, step):
        rate = self.after(tf.maximum(tf.cast(step, tf.int64), self.steps))
        return rate * tf.minimum((tf.cast(step, rate.dtype) + 1) / (self.steps + 1), 1.0)

    def get_config(self):
        return {"after": keras.saving.serialize_keras_object(self.after), "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "after": keras.saving.deserialize_keras_object(config["after"])})


@keras.saving.register_keras_serializable(package="keras_norms")
class ConstantWarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Stays at a rate of its own during the warm-up, then follows another schedule, as if it had from the start.

    Args:
        after: Keras learning rate schedule.
        rate: Float, the rate in the warm-up.
        end: Integer, or scalar int64 variable: the first step after the warm-up.

    Reference: [He et al., 2015](https://arxiv.org/abs/1512.03385), section 4.2
    """

    def __init__(self, after, rate, end):
        super().__init__()
        self.after = after
        self.rate = rate
        self.end = end

    def __call__(self, step):
        warm = tf.cast(step, tf.int64) >= tf.cast(self.end, tf.int64)
        return tf.where(warm, self.after(step), self.rate)

    def get_config(self):
        after = keras.saving.serialize_keras_object(self.after)
        return {"after": after, "rate": self.rate, "end": int(self.end)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "after": keras.saving.deserialize_keras_object(config["after"])})


def _constant(recipe, total_steps):
    return keras.optimizers.schedules.PiecewiseConstantDecay([total_steps], [recipe.peak_learning_rate] * 2)


def _step(recipe, total_steps):
    # A drop after k steps: PiecewiseConstantDecay keeps the rate up to and including its boundary.
    boundaries = [round(drop * total_steps) - 1 for drop in recipe.drops]
    rates = [recipe.peak_learning_rate * 0.1**drops for drops in range(len(boundaries) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _linear(recipe, total_steps):
    return keras.optimizers.schedules.PolynomialDecay(recipe.peak_learning_rate, total_steps, 0.0)


def _polynomial(recipe, total_steps):
    return keras.optimizers.schedules.PolynomialDecay(recipe.peak_learning_rate, total_steps, 0.0, recipe.power)


def _exponential(recipe, total_steps):
    return keras.optimizers.schedules.ExponentialDecay(recipe.peak_learning_rate, total_steps, recipe.decay_rate)


def _cosine(recipe, total_steps):
    return keras.optimizers.schedules.CosineDecay(recipe.peak_learning_rate, total_steps)


_SCHEDULES = {
    "constant": _constant,
    "step": _step,
    "linear": _linear,
    "polynomial": _polynomial,
    "exponential": _exponential,
    "cosine": _cosine,
}
