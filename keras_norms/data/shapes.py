"""The embedded data set: ten classes of drawn figures, the same on every machine.

An example is one figure at a random place, size and angle, in a random colour on a random background, with strokes
behind and before it and noise over all. It needs neither network nor files. All randomness comes from integer hashes,
and floats meet only `+ - * /`, square roots and comparisons, which IEEE 754 rounds in one way: no `sin` or `exp`, whose
last bit depends on the machine, and no sums over an axis, whose order does.
"""

import operator

import numpy as np

from keras_norms.data import figures

CLASS_NAMES = tuple(figures.FIGURES)
TRAIN_EXAMPLES = 10_000
TEST_EXAMPLES = 2_000

_SPLITS = {"train": TRAIN_EXAMPLES, "test": TEST_EXAMPLES}
_CHUNK_PIXELS = 2**16  # What is drawn at once stays in the processor's cache.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def render(split, image_size, examples=None, seed=0):
    """Draws the first examples of a split.

    Use it to train, test or demonstrate where no data set can be downloaded. Turned or mirrored, an image keeps its
    class. Example `i` depends on the seed, the split, `i` and the image size alone, so that fewer examples are the
    beginning of more. At another image size it is the same scene under other noise.

    Args:
        split: String, `"train"` or `"test"`.
        image_size: Integer from 16, the height and width in pixels.
        examples: Integer, how many to draw. Defaults to all, `TRAIN_EXAMPLES` or `TEST_EXAMPLES`.
        seed: Integer from 0 to `2**64 - 1`. Another seed is another data set.

    Returns:
        Images, a `uint8` array of shape `(examples, image_size, image_size, 3)` in red, green and blue from 0 to 255,
        and labels, an `int32` array of shape `(examples,)` of indices into `CLASS_NAMES`. Example `i` has label
        `i % 10`: balanced, and in need of shuffling before training.

    Raises:
        ValueError: If an argument is out of its range.
    """
    # To an int of Python: float32 arrays turn to float64 beside an integer of NumPy.
    image_size = operator.index(image_size)
    _check_split_and_size(split, image_size)
    examples = _SPLITS[split] if examples is None else examples
    _check_examples_and_seed(split, examples, seed)
    keys = _example_keys(split, examples, seed)
    images = np.empty((examples, image_size, image_size, 3), "uint8")
    classes = len(CLASS_NAMES)
    step = classes * max(1, _CHUNK_PIXELS // (image_size**2 * classes))
    for start in range(0, examples, step):
        images[start : start + step] = _draw(keys[start : start + step], image_size)
    return images, np.arange(examples, dtype="int32") % classes


def _check_split_and_size(split, image_size):
    if split not in _SPLITS:
        raise ValueError(f"`split` must be one of {list(_SPLITS)}. Received: split={split!r}.")
    if image_size < 16:
        raise ValueError(f"`image_size` must be at least 16 pixels. Received: image_size={image_size}.")


def _check_examples_and_seed(split, examples, seed):
    if not 1 <= examples <= _SPLITS[split]:
        raise ValueError(f"`examples` must be from 1 to {_SPLITS[split]} for {split!r}. Received: examples={examples}.")
    if not 0 <= seed < 2**64:
        raise ValueError(f"`seed` must be from 0 to 2**64 - 1. Received: seed={seed}.")


def _example_keys(split, examples, seed):
    """Returns the state in which the random stream of each example starts, of shape `(examples,)`."""
    key = _mix(np.array([seed], "uint64"))
    key = _mix(key + np.uint64(list(_SPLITS).index(split)))
    return _mix(key + np.arange(examples, dtype="uint64"))


def _mix(state):
    """Returns 64 random bits for each element of a `uint64` array, the output of SplitMix64 in that state.

    Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014,
    https://doi.org/10.1145/2660193.2660195. The one stream that NumPy freezes,
    `RandomState`, is too slow to seed for each example.
    """
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


class _Streams:
    """The random streams of several examples, read side by side."""

    def __init__(self, keys):
        self._keys = keys[:, None]
        self._position = 0

    def bits(self, count):
        """Returns the next `count` words of each stream, `uint64` of shape `(examples, count)`."""
        positions = np.arange(self._position, self._position + count, dtype="uint64")
        self._position += count
        return _mix(self._keys + positions * _GOLDEN)

    def uniform(self, low, high, channels=1):
        """Returns numbers from `low` to `high`, `float32` of shape `(examples, channels, 1, 1)`."""
        fractions = (self.bits(channels) >> np.uint64(40)).astype("float32") * 2.0**-24
        return (low + (high - low) * fractions)[:, :, None, None]

    def sign(self):
        """Returns -1 or 1, `float32` of shape `(examples, 1, 1, 1)`."""
        return np.where(self.uniform(-1, 1) < 0, np.float32(-1), np.float32(1))


def _draw(keys, image_size):
    """Returns the images of consecutive examples, the first of them of class 0.

    Coordinates go from -1 to 1, arrays are `(examples, channels, height, width)`. In each channel the background is
    below 0.5 and the figure above 0.7; every other image is turned into its negative. The noise comes last, as the only
    part that takes more random numbers for more pixels.
    """
    streams = _Streams(keys)
    x = (2 * np.arange(image_size, dtype="float32") + 1) / image_size - 1
    y = x[:, None]
    image = _background(streams, x, y)
    for _ in range(4):
        _paint(image, _stroke(streams, x, y), streams.uniform(0, 1, channels=3))
    _paint(image, _figure(streams, x, y), streams.uniform(0.7, 1, channels=3))
    _paint(image, _stroke(streams, x, y), streams.uniform(0, 1, channels=3))
    image = 0.5 + streams.sign() * (image - 0.5) + _noise(streams, image_size)
    return np.floor(np.clip(255 * image, 0, 255) + 0.5).astype("uint8").transpose(0, 2, 3, 1)


def _paint(image, depth, colour):
    """Lays a colour over the image where `depth` is positive, fading over the one pixel that the border crosses."""
    coverage = np.clip(0.5 + depth * (image.shape[-1] / 2), 0, 1)
    image += coverage * (colour - image)


def _turn(streams, x, y):
    """Returns the coordinates in a frame turned by a random angle."""
    # The tangent of half the angle gives both its cosine and its sine, up to a right angle; a sign adds half a turn.
    tangent = streams.uniform(-1, 1)
    scale = streams.sign() / (1 + tangent * tangent)
    cosine, sine = (1 - tangent * tangent) * scale, 2 * tangent * scale
    return cosine * x + sine * y, cosine * y - sine * x


def _background(streams, x, y):
    """Returns a gradient between two colours, with soft stripes across it."""
    along, across = _turn(streams, x, y)
    phase = across * streams.uniform(0.5, 2) + streams.uniform(0, 1)
    stripes = 2 * np.abs(phase - np.floor(phase) - 0.5)
    gradient = 0.5 + 0.35 * along  # From 0 to 1: `along` reaches the root of two in a corner.
    blend = gradient + streams.uniform(0, 0.5) * (stripes - gradient)
    first, last = streams.uniform(0, 0.5, channels=3), streams.uniform(0, 0.5, channels=3)
    return first + (last - first) * blend


def _stroke(streams, x, y):
    """Returns the depth in a short stroke with round ends, a dot at its shortest."""
    x, y = _turn(streams, x - streams.uniform(-1, 1), y - streams.uniform(-1, 1))
    beyond_the_line = np.maximum(np.abs(x) - streams.uniform(0, 0.3), 0)
    return figures.disc(beyond_the_line, y, streams.uniform(0.03, 0.08))


def _figure(streams, x, y):
    """Returns the depth in the figures, one class after the other, wholly inside their images."""
    size = streams.uniform(0.35, 0.75)
    room = 1 - size
    x, y = _turn(streams, x - room * streams.uniform(-1, 1), y - room * streams.uniform(-1, 1))
    x, y = x / size, y / size
    depth = np.empty_like(x)
    for label, figure in enumerate(figures.FIGURES.values()):
        same_class = slice(label, None, len(CLASS_NAMES))
        depth[same_class] = figure(x[same_class], y[same_class])
    return size * depth


def _noise(streams, image_size):
    """Returns the sum of two uniform numbers for each pixel and channel, its strength drawn for each image."""
    strength = streams.uniform(0.02, 0.15)
    bits = streams.bits(image_size**2).reshape(-1, 1, image_size, image_size)
    shifts = np.array([0, 20, 40], "uint64").reshape(3, 1, 1)
    ten_bits = np.uint64(1023)
    total = ((bits >> shifts) & ten_bits) + ((bits >> (shifts + np.uint64(10))) & ten_bits)
    return strength * (total.astype("float32") / 1023 - 1)
