"""Images to serve."""

import numpy as np

_PATCHES = 4


def random(batch, size, seed=0):
    """Returns float32 pixels from 0 to 255, of shape `(batch, size, size, 3)`: patches of random colours.

    Not a random number for each pixel: to a convolution such images are all alike, and batch norm, which divides by
    how far they lie apart, would then show little but how sums are rounded.
    """
    patches = np.random.default_rng(seed).uniform(0, 255, (batch, _PATCHES, _PATCHES, 3))
    return patches.repeat(size // _PATCHES, 1).repeat(size // _PATCHES, 2).astype("float32")
