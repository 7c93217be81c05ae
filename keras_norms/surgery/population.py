"""Mean and variance of numbers that come in parts, merged in float64."""

import numpy as np


class Population:
    """The count, mean and variance per channel of all parts added so far.

    Merging is Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
    1979: each part counts by its number of values, and so does how far its mean lies from that of the others.

    Attributes:
        count: Integer, the values per channel.
        mean: Float64 array of shape `(channels,)`.
    """

    def __init__(self):
        self.count, self.mean, self._squares = 0, np.float64(0), np.float64(0)

    def add(self, part):
        """Adds the `Moments` of a part, as arrays. A part without values changes nothing."""
        count, mean, residual, variance = (np.asarray(number, "float64") for number in part)
        if count == 0:
            return
        total = self.count + int(count)
        distance = mean + residual - self.mean
        self._squares = self._squares + variance * count + distance**2 * (self.count * count / total)
        self.mean = self.mean + distance * (count / total)
        self.count = total

    def variance(self, unbiased):
        """Returns the sum of squared deviations, divided by the count, less 1 if `unbiased`."""
        return self._squares / (self.count - 1 if unbiased else self.count)
