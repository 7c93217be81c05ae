"""Gradients by finite differences, in float64, of definitions written in NumPy."""

import numpy as np


def gradient(function, *arguments, step=1e-5):
    """Returns the gradients of a scalar function with respect to its arguments, by central differences."""
    arguments = [np.array(argument, "float64") for argument in arguments]
    found = []
    for argument in arguments:
        slope = np.empty_like(argument)
        for index in np.ndindex(argument.shape):
            value, change = argument[index], step * max(1.0, abs(argument[index]))
            argument[index] = value + change
            above = function(*arguments)
            argument[index] = value - change
            below = function(*arguments)
            argument[index] = value
            slope[index] = (above - below) / (2 * change)
        found.append(slope)
    return found
