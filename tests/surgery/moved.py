"""Models whose variables are all off their initial values."""

import keras
import numpy as np


def moved(model, seed=0):
    """Gives every floating variable of a model random values, variances and weights of averages above 0."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(rng.uniform(0.3, 0.9, variable.shape))
    return model


def values(model):
    """Returns the values of all variables of a model."""
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables]
