"""The batch that all entrants of benchmarks/step.py train on, held in memory, and what is minimized on it."""

import math

import numpy as np

# Small, so that no network diverges, as residual ones do without normalization. The time of a step does not depend on
# it, but may depend on values that are no numbers.
LEARNING_RATE = 1e-7
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
# Of the outputs of GoogLeNet; the other networks have one.
LOSS_WEIGHTS = {"main": 1.0, "aux1": 0.3, "aux2": 0.3}


def fixed(batch, size, classes):
    """Returns images of shape `(batch, size, size, 3)` and labels."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(batch, size, size, 3)).astype("float32")
    return images, generator.integers(0, classes, batch)


def check(loss):
    """Refuses a step whose loss is no number.

    Raises:
        FloatingPointError: It is none.
    """
    if not math.isfinite(loss):
        raise FloatingPointError(f"The loss became {loss}.")
