"""A recipe: everything that decides the result of a training, in one frozen record of strings and numbers."""

import dataclasses

SCHEDULES = ("constant", "step", "linear", "cosine")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train, on what, and how.

    Attributes:
        arch: String, a name `keras_norms.models.build` knows.
        dataset: String, a name `keras_norms.data.datasets.load` knows.
        normalization, use_scale, use_bias, activation, dropout: As in `keras_norms.models.build`.
        synchronized: Boolean, whether batch statistics are those of all replicas together.
        image_size: Integer, height and width in pixels; None for the published one.
        crop, flip: Booleans, whether training images are cropped at random, mirrored at random.
        batch_size: Integer, over all replicas.
        epochs: Integer.
        steps: Integer, the number of training steps, in place of `epochs`; None for none.
        learning_rate: Float, the rate at the start.
        schedule: String, one of `SCHEDULES`: how the rate falls. `linear` and `cosine` end at zero.
        drops: Tuple of floats, the parts of the training after which `step` divides the rate by ten.
        momentum: Float, of stochastic gradient descent.
        weight_decay: Float; this times a kernel is added to its gradient (L2, coupled, as in Caffe and Torch).
            Biases, scales and the like do not decay.
    """

    arch: str
    dataset: str = "shapes"
    normalization: str = "batch_norm_before"
    use_scale: bool = True
    use_bias: bool = True
    activation: str = "relu"
    dropout: float | None = None
    synchronized: bool = False
    image_size: int | None = None
    crop: bool = True
    flip: bool = True
    batch_size: int = 64
    epochs: int = 10
    steps: int | None = None
    learning_rate: float = 0.05
    schedule: str = "cosine"
    drops: tuple = (0.5, 0.75)
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def __post_init__(self):
        for name, least in (("epochs", 1), ("batch_size", 1), ("steps", 1), ("image_size", 1)):
            value = getattr(self, name)
            _require(value is None or value >= least, f"`{name}` must be at least {least}", name, value)
        _require(self.learning_rate > 0, "`learning_rate` must be above 0", "learning_rate", self.learning_rate)
        _require(0 <= self.momentum < 1, "`momentum` must be at least 0 and below 1", "momentum", self.momentum)
        _require(self.weight_decay >= 0, "`weight_decay` must be at least 0", "weight_decay", self.weight_decay)
        _require(self.schedule in SCHEDULES, f"`schedule` must be one of {SCHEDULES}", "schedule", self.schedule)
        rising = list(self.drops) == sorted(set(self.drops)) and all(0 < drop < 1 for drop in self.drops)
        _require(rising, "`drops` must be rising parts of the training between 0 and 1", "drops", self.drops)

    def but(self, **differences):
        """Returns this recipe with some entries changed.

        Raises:
            TypeError: An entry does not exist.
        """
        return dataclasses.replace(self, **differences)


def _require(holds, expectation, name, value):
    if not holds:
        raise ValueError(f"{expectation}. Received: {name}={value!r}.")
