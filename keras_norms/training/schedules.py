"""How the learning rate falls, by name."""

import keras


def schedule(recipe, total_steps):
    """Returns the Keras learning rate schedule of a recipe.

    Args:
        recipe: `recipes.Recipe`.
        total_steps: Integer, the length of the training.
    """
    return _SCHEDULES[recipe.schedule](recipe, total_steps)


def _constant(recipe, total_steps):
    return keras.optimizers.schedules.PiecewiseConstantDecay([total_steps], [recipe.learning_rate] * 2)


def _step(recipe, total_steps):
    # A drop after k steps: PiecewiseConstantDecay keeps the rate up to and including its boundary.
    boundaries = [round(drop * total_steps) - 1 for drop in recipe.drops]
    rates = [recipe.learning_rate * 0.1**drops for drops in range(len(boundaries) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _linear(recipe, total_steps):
    return keras.optimizers.schedules.PolynomialDecay(recipe.learning_rate, total_steps, end_learning_rate=0.0)


def _cosine(recipe, total_steps):
    return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, total_steps)


_SCHEDULES = {"constant": _constant, "step": _step, "linear": _linear, "cosine": _cosine}
