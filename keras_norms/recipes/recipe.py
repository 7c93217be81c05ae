"""A recipe: everything that decides the result of a training, in one frozen record of strings and numbers."""

import dataclasses
import difflib
import math

INITIALIZATIONS = ("orthonormal", "lsuv", "lsuv_after_activation", "weight_norm", "residual_weight_norm")
SCHEDULES = ("constant", "step", "linear", "polynomial", "exponential", "cosine")
OPTIMIZERS = ("sgd", "torch_sgd")
LR_SCALINGS = ("none", "linear", "sqrt")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train, on what, and how.

    Tuples may be given as lists, as JSON has them.

    Attributes:
        name: String, what the recipe is called; empty for one that has no name.
        arch: String, a name `keras_norms.models.build` knows.
        dataset: String, a name `keras_norms.data.datasets.load` knows.
        normalization, use_scale, use_bias, activation, dropout, keeps_bias: As in `keras_norms.models.build`.
        options: Tuple of pairs of the name and the value of a network's own options, as in `keras_norms.models.build`.
        initialization: String, one of `INITIALIZATIONS`, what is done to the network before the first step: kernels
            become orthonormal; `initializers.lsuv`, with variance 1 in front of the activations or behind them, on the
            first training images; `initializers.weight_norm` on the same; or `initializers.residual_weight_norm`. None
            for what the network's own initializers give.
        synchronized: Boolean, whether batch statistics are those of all replicas together.
        image_size: Integer, height and width in pixels; None for the published one.
        margin: Integer, by how many pixels the shorter side of an image is longer than `image_size` before it is
            cropped. Images that are stored at that size get a border of so many zeros instead. None for an eighth.
        pixel_mean, pixel_deviation: Tuples of floats, a channel each: what is subtracted from pixels of 0 to 255, and
            what they are divided by. None for the statistics of the training images.
        crop, flip: Booleans, whether training images are cropped at random, mirrored at random.
        batch_size: Integer, over all replicas.
        drop_remainder: Boolean, whether the images that do not fill a last batch of an epoch are left out.
        micro_batches: Integer, the parts into which each replica's share of a batch is cut. Their gradients are summed
            before the one update, for less memory; batch statistics are those of a part.
        epochs: Integer; None where there are `steps`, which take its place.
        steps: Integer, the number of training steps; None for none.
        learning_rate: Float, the rate at the start, or at the end of a warm-up.
        lr_scaling: String, one of `LR_SCALINGS`: how the rate follows the batch size. `learning_rate` is multiplied by
            `batch_size / lr_batch_size` (`linear`: Goyal et al., 2017, https://arxiv.org/abs/1706.02677) or by its root
            (`sqrt`: Krizhevsky, 2014, https://arxiv.org/abs/1404.5997).
        lr_batch_size: Integer, the batch size that `learning_rate` is meant for; None for any.
        schedule: String, one of `SCHEDULES`: how the rate falls. `linear`, `polynomial` and `cosine` end at zero.
        drops: Tuple of floats, the parts of the training after which `step` divides the rate by ten.
        power: Float; `polynomial` multiplies the rate by `(1 - step / steps) ** power`. The default is that of
            GoogLeNet's quick solver in Caffe.
        decay_rate: Float, what `exponential` multiplies the rate by over the whole training, evenly in the exponent.
            The default is caffenet-benchmark's 0.915 at every 2,000 of 160,000 steps.
        warmup_steps: Integer, over how many first steps the rate rises linearly to what the schedule says after them,
            as in Goyal et al.
        warmup_rate: Float, the constant rate of the warm-up in place of a rising one; None for a rising one.
        warmup_error: Float; the warm-up lasts until the training error of the epoch so far falls below it, in place of
            `warmup_steps`: He et al. (2015, https://arxiv.org/abs/1512.03385) train 110 layers at a rate of 0.01 until
            0.8. None for none.
        optimizer: String, one of `OPTIMIZERS`: what the momentum accumulates. With `sgd` it is the rate times the
            gradient, as in Caffe, MXNet and Keras; with `torch_sgd` it is the gradient, and the rate multiplies at the
            update, as in Torch. They differ where the rate changes.
        momentum: Float, of stochastic gradient descent.
        nesterov: Boolean, whether the momentum is Nesterov's.
        lr_mult: Tuple of pairs of a kind of weight and a factor of its learning rate, Caffe's `lr_mult`. A kind is the
            name of trainable variables, such as kernel, bias, scale, threshold or kernel_scale (weight norm's g; its
            kernel is the direction v); or a pattern of their paths, such as `*_batch_norm/bias`; or `*` for all that
            are not named, whose factor else is 1. Of several patterns that fit, the last one holds, and before names.
        weight_decay: Float; this times a weight is added to its gradient (L2, coupled, as in Caffe and Torch).
        decay_mult: Tuple of pairs of a kind of weight and a factor of its weight decay, Caffe's `decay_mult`. Kinds
            that are not named do not decay.
        weight_average: Float, the momentum of a moving average of the weights, which is tested and exported in their
            place; None for none.
    """

    arch: str
    name: str = ""
    dataset: str = "shapes"
    normalization: str = "batch_norm_before"
    use_scale: bool = True
    use_bias: bool = True
    activation: str | None = None
    dropout: float | None = None
    keeps_bias: bool | None = None
    options: tuple = ()
    initialization: str | None = None
    synchronized: bool = False
    image_size: int | None = None
    margin: int | None = None
    pixel_mean: tuple | None = None
    pixel_deviation: tuple | None = None
    crop: bool = True
    flip: bool = True
    batch_size: int = 64
    drop_remainder: bool = True
    micro_batches: int = 1
    epochs: int | None = 10
    steps: int | None = None
    learning_rate: float = 0.05
    lr_scaling: str = "none"
    lr_batch_size: int | None = None
    schedule: str = "cosine"
    drops: tuple = (0.5, 0.75)
    power: float = 0.5
    decay_rate: float = 8.2e-4
    warmup_steps: int = 0
    warmup_rate: float | None = None
    warmup_error: float | None = None
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    lr_mult: tuple = ()
    weight_decay: float = 1e-4
    decay_mult: tuple = (("kernel", 1.0),)
    weight_average: float | None = None

    def __post_init__(self):
        for name in ("drops", "lr_mult", "decay_mult", "options", "pixel_mean", "pixel_deviation"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        for name, allowed in (
            ("schedule", SCHEDULES),
            ("optimizer", OPTIMIZERS),
            ("lr_scaling", LR_SCALINGS),
            ("initialization", INITIALIZATIONS),
        ):
            self._require(name, lambda value, allowed=allowed: value in allowed, f"one of {allowed}")
        if self.steps is not None:
            object.__setattr__(self, "epochs", None)
        self._check_contradictions()
        self._check_ranges()

    @property
    def peak_learning_rate(self):
        """The learning rate for this batch size: what the schedule falls from."""
        if self.lr_scaling == "none":
            return self.learning_rate
        ratio = self.batch_size / self.lr_batch_size
        return self.learning_rate * (ratio if self.lr_scaling == "linear" else math.sqrt(ratio))

    def differences(self, other):
        """Returns the entries in which another recipe differs, a dict from their names to its values."""
        own, others = dataclasses.asdict(self), dataclasses.asdict(other)
        return {name: others[name] for name in own if others[name] != own[name]}

    def but(self, **differences):
        """Returns this recipe with some entries changed.

        Raises:
            TypeError: An entry does not exist.
            ValueError: An entry has an impossible value, or contradicts another.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name, value in differences.items():
            if name not in names:
                nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
                raise TypeError(
                    f"A recipe has no entry `{name}`; the nearest is `{nearest}`. Received: {name}={value!r}."
                )
        return dataclasses.replace(self, **differences)

    def _check_contradictions(self):
        scaled, until, constant = self.lr_scaling != "none", self.warmup_error is not None, self.warmup_rate is not None
        for contradiction, expectation, names in (
            (
                scaled and self.lr_batch_size is None,
                "`lr_scaling` needs `lr_batch_size`",
                ("lr_scaling", "lr_batch_size"),
            ),
            (until and not constant, "`warmup_error` needs `warmup_rate`", ("warmup_error", "warmup_rate")),
            (
                until and self.warmup_steps > 0,
                "`warmup_error` takes the place of `warmup_steps`: give one",
                ("warmup_error", "warmup_steps"),
            ),
            (
                constant and not until and not self.warmup_steps,
                "`warmup_rate` needs `warmup_steps` or `warmup_error`",
                ("warmup_rate", "warmup_steps", "warmup_error"),
            ),
            (self.steps is None and self.epochs is None, "there must be `epochs` or `steps`", ("epochs", "steps")),
            (self.nesterov and not self.momentum, "`nesterov` needs a `momentum`", ("nesterov", "momentum")),
        ):
            if contradiction:
                received = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
                raise ValueError(f"{expectation}. Received: {received}.")

    def _check_ranges(self):
        for name in ("epochs", "batch_size", "micro_batches", "steps", "image_size", "lr_batch_size"):
            self._require(name, lambda value: value >= 1, "at least 1")
        for name in ("learning_rate", "power", "decay_rate", "warmup_rate", "warmup_error"):
            self._require(name, lambda value: 0 < value < math.inf, "above 0, and finite")
        for name in ("weight_decay", "warmup_steps", "margin"):
            self._require(name, lambda value: 0 <= value < math.inf, "at least 0, and finite")
        for name in ("momentum", "weight_average"):
            self._require(name, lambda value: 0 <= value < 1, "at least 0 and below 1")
        self._require("decay_rate", lambda value: value <= 1, "at most 1")
        self._require("warmup_error", lambda value: value <= 1, "at most 1")
        self._require(
            "micro_batches", lambda value: value <= self.batch_size, f"at most `batch_size`, {self.batch_size}"
        )
        self._require("drops", _rising, "rising parts of the training between 0 and 1")
        self._require("options", _options, "pairs of a name and a value, each name once")
        self._require("pixel_mean", _numbers, "finite numbers, one a channel")
        self._require("pixel_deviation", lambda value: _numbers(value) and min(value) > 0, "numbers above 0")
        for name in ("lr_mult", "decay_mult"):
            self._require(name, _factors, "pairs of a kind of weight and a factor of at least 0, each kind once")

    def _require(self, name, holds, expectation):
        value = getattr(self, name)
        if value is not None and not holds(value):
            raise ValueError(f"`{name}` must be {expectation}. Received: {name}={value!r}.")


def _frozen(value):
    """Returns the value with tuples in place of the lists in it."""
    return tuple(_frozen(part) for part in value) if isinstance(value, list | tuple) else value


def _pairs(value):
    """Returns whether the value is a tuple of pairs that begin with a string, each string once."""
    return (
        isinstance(value, tuple)
        and all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in value)
        and len(dict(value)) == len(value)
    )


def _options(pairs):
    return _pairs(pairs) and all(isinstance(value, str | int | float) for _, value in pairs)


def _numbers(value):
    return isinstance(value, tuple) and value != () and all(map(_finite, value))


def _finite(value):
    return isinstance(value, int | float) and math.isfinite(value)


def _rising(drops):
    return list(drops) == sorted(set(drops)) and all(0 < drop < 1 for drop in drops)


def _factors(pairs):
    return _pairs(pairs) and all(_finite(factor) and factor >= 0 for _, factor in pairs)
