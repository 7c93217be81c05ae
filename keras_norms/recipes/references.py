"""The published results of the studies, each with its source and with what is known to be wrong with it.

    caffenet-benchmark    D. Mishkin, https://github.com/ducha-aiki/caffenet-benchmark (batchnorm.md); the study is also
                          Mishkin, Sergievskiy and Matas, 2017, https://arxiv.org/abs/1606.02228
    torch-residual-networks    https://github.com/gcr/torch-residual-networks, after He et al., 2015,
                          https://arxiv.org/abs/1512.03385
    BN and WN             Gitman and Ginsburg, 2017, https://arxiv.org/abs/1709.08145
    AlexNet               a blog post whose settings are those of "Dive into Deep Learning", https://d2l.ai

Accuracies and errors are fractions. Those of the caffenet-benchmark are of the main head, on 50,000 validation images
at one centre crop if a row does not say otherwise; those of the residual networks are of epoch 200.
"""

import dataclasses
import difflib
import functools


@dataclasses.dataclass(frozen=True)
class Reference:
    """One published result.

    Attributes:
        study: String, the table it stands in.
        row: String, the row as the table names it.
        dataset: String.
        metric: String, what `value` is.
        value: Float.
        metric2, value2: The second number of the row, or None.
        source: String, where it was published.
        defects: Tuple of sentences, what to know before something is compared with it.
    """

    study: str
    row: str
    dataset: str
    metric: str
    value: float
    metric2: str | None
    value2: float | None
    source: str
    defects: tuple


def reference(study, row):
    """Returns the `Reference` of a study and a row.

    Raises:
        ValueError: There is none; the message has the nearest.
    """
    found = {(one.study, one.row): one for one in REFERENCES}
    if (study, row) not in found:
        names = {f"{name}/{label}": (name, label) for name, label in found}
        (nearest,) = difflib.get_close_matches(f"{study}/{row}", names, n=1, cutoff=0)
        raise ValueError(
            f"No published result has this study and row; the nearest is study={names[nearest][0]!r}, "
            f"row={names[nearest][1]!r}. Received: study={study!r}, row={row!r}."
        )
    return found[study, row]


# What rows of the caffenet-benchmark have in common.

_ONE_RUN = "One run, its digits cut off, not rounded."
_RED_MEAN = "The mean subtracted from red is 124 in training and 123 in the test."
_BEFOREHAND = "Its images were resized before the training, those of most other rows during it."
_NO_AFFINE = "Without scale and bias."
_SAME_RUN = 'The same run as "After" of the table of places.'
_BUGGY_AFFINE = (
    "The layer with scale and bias was buggy, says its author: on GPUs the gradient of its bias was wrong. Read it as "
    "a learned scale with an unreliable bias; whether the run had a fix is unknown."
)
_SAME_RUN_AFFINE = 'The same run as "Before + scale&bias layer" of the table of places.'


def _batch_tested(images):
    return (
        f"Tested with the statistics of {images} images at a time, not with moving ones: the published network lets "
        "its test phase use the batch."
    )


def _statistics_over(images, other):
    return f"Batch statistics of {images} images; {other} have 256: the activation is not the only difference."


def _googlenet_statistics_over(images):
    return f"In training batch statistics of {images} images; the rows with GoogLeNet have 32, 64 or 128."


def _benchmark(study, row, accuracy, loss, *defects, red_mean=True):
    return Reference(
        study=study,
        row=row,
        dataset="ILSVRC-2012, 128 px",
        metric="top1_accuracy",
        value=accuracy,
        metric2="log_loss",
        value2=loss,
        source="ducha-aiki/caffenet-benchmark batchnorm.md (e47c4ff)",
        defects=(*defects, _ONE_RUN, *((_RED_MEAN,) if red_mean else ())),
    )


_place = functools.partial(_benchmark, "bn_before_after")
_activation = functools.partial(_benchmark, "bn_activations")
_dropout = functools.partial(_benchmark, "bn_dropout")
_initialization = functools.partial(_benchmark, "bn_arch_init")

_PLACES = (
    _place(
        "Before",
        0.474,
        2.35,
        "Without scale and bias, though it is labelled as in the paper.",
        "The convolutions keep biases, which the normalization cancels.",
    ),
    _place(
        "Before + scale&bias layer",
        0.478,
        2.33,
        _BUGGY_AFFINE,
        "A first run, given up after 17,000 steps, was up to 0.05 lower.",
    ),
    _place("After", 0.499, 2.21, _NO_AFFINE),
    _place(
        "After + scale&bias layer",
        0.493,
        2.24,
        _BUGGY_AFFINE,
        "Images resized with linear interpolation, those of the other rows with cubic.",
    ),
)

_ACTIVATIONS = (
    _activation("ReLU", 0.499, 2.21, _NO_AFFINE, _SAME_RUN),
    _activation(
        "RReLU",
        0.500,
        2.20,
        _NO_AFFINE,
        "Its published network is named for a normalization before the activation, and has it after.",
    ),
    _activation(
        "PReLU",
        0.503,
        2.19,
        _NO_AFFINE,
        "Weight decay acts on the slopes.",
        "How it was initialized is unknown: the LSUV script of that time cannot read the layer.",
    ),
    _activation("ELU", 0.498, 2.23, _NO_AFFINE, "Stopped after 304,000 of 320,000 steps."),
    _activation(
        "Maxout",
        0.487,
        2.28,
        _NO_AFFINE,
        "The second pieces of conv4 and conv5 read what has not been normalized, the first pieces what has.",
        "Layers narrower by about the root of 2: the activation is not the only difference.",
    ),
    _activation("Sigmoid", 0.475, 2.35, _NO_AFFINE, _statistics_over(128, "the others but TanH"), _BEFOREHAND),
    _activation(
        "TanH",
        0.448,
        2.50,
        _NO_AFFINE,
        "Each test is on 20,000 of the 50,000 images, each time on others.",
        _statistics_over(64, "the others but Sigmoid"),
        _BEFOREHAND,
    ),
    _activation(
        "No",
        0.384,
        2.96,
        "The one row of its table with scale and bias, and with convolutions that have no bias.",
        _BEFOREHAND,
    ),
)

_DROPOUTS = (
    _dropout("Dropout = 0.5", 0.499, 2.21, _NO_AFFINE, _SAME_RUN),
    _dropout("Dropout = 0.2", 0.527, 2.09, _NO_AFFINE),
    _dropout("Dropout = 0", 0.513, 2.19, _NO_AFFINE, "Its network was not published."),
)

_INITIALIZATIONS = (
    _initialization(
        "Caffenet",
        0.471,
        2.36,
        "Raised from 0.470 in March 2016. The curve plotted since then is another run or a restart: 0.006 to 0.023 "
        "lower between 10,000 and 40,000 steps than the log of December 2015, within 0.0025 of it after 200,000.",
    ),
    _initialization(
        "Caffenet BN Before + scale&bias layer LSUV",
        0.478,
        2.33,
        _BUGGY_AFFINE,
        _SAME_RUN_AFFINE,
    ),
    _initialization(
        "Caffenet BN Before + scale&bias layer Ortho",
        0.482,
        2.31,
        "Differs from the row with LSUV in more than the initialization: Caffe's Scale layer, whose bias learns at the "
        "rate itself and not at twice the rate, convolutions without bias, other images.",
        _BEFOREHAND,
    ),
    _initialization("Caffenet BN After LSUV", 0.499, 2.21, _NO_AFFINE, _SAME_RUN),
    _initialization(
        "Caffenet BN After Ortho",
        0.500,
        2.20,
        _NO_AFFINE,
        "The log names other images and test batches than the published network.",
        _BEFOREHAND,
    ),
    _initialization(
        "GoogLeNet128",
        0.619,
        1.61,
        "Batches of 255 images.",
        "How it was initialized is unknown; the head of the page says LSUV.",
        red_mean=False,
    ),
    _initialization(
        "GoogLeNet BN Before + scale&bias layer LSUV",
        0.603,
        1.68,
        _batch_tested(50),
        _googlenet_statistics_over(128),
        _BEFOREHAND,
    ),
    _initialization(
        "GoogLeNet BN Before + scale&bias layer Ortho",
        0.607,
        1.67,
        _batch_tested(20),
        _googlenet_statistics_over(32),
        "Most likely one scale and one bias for a whole layer: when it was published there was no other network.",
        _BEFOREHAND,
    ),
    _initialization(
        "GoogLeNet BN After LSUV",
        0.596,
        1.70,
        _NO_AFFINE,
        _batch_tested(20),
        _googlenet_statistics_over(32),
        _BEFOREHAND,
    ),
    _initialization(
        "GoogLeNet BN After Ortho",
        0.584,
        1.77,
        _NO_AFFINE,
        _batch_tested(20),
        _googlenet_statistics_over(64),
        "64 is in the log; the published network says 32.",
        _BEFOREHAND,
    ),
    _initialization(
        "GoogLeNet128_BN_lim0606",
        0.645,
        1.54,
        "Another network than the other rows: Inception-BN, without local response normalization and without dropout, "
        "640,000 steps of 128 images, tested with moving statistics.",
        "The page says that it has 3x1 and 1x3 convolutions; the published network has square ones alone.",
        "Its curve was never published.",
        _BEFOREHAND,
    ),
)

# The table of 12 January 2016 was withdrawn three days later; the second one replaces it.

_WITHDRAWN = (
    "Withdrawn by its author.",
    "Tested on 2,048 draws, with replacement, from 2,000 of the 10,000 test images: a standard error of about 0.006, "
    "so that no row can be told from another.",
    "The last stage has 10 channels in place of 64.",
)
_MEAN_OF_FIVE = "The error of He et al. is a mean of five runs; their best is 0.0643."
_NESTEROV = "Nesterov's momentum, where He et al. have the plain one."
_PATCH_LOST = "The change to the block is known from a text and a figure; its code was not published."
_WARM_UP = "The schedule of its warm-up is known from a text alone."
_STANDARD_ERROR = "One run; 10,000 images are a standard error of about 0.003."


def _cifar(study, row, error, metric2, value2, source, *defects):
    source = f"gcr/torch-residual-networks README ({source})"
    return Reference(study, row, "CIFAR-10", "test_error", error, metric2, value2, source, defects)


def _depth(row, error, published, printed, *defects):
    misprint = f"The first README prints the error of He et al. as {printed}; it is {published}."
    return _cifar(
        "resnet_cifar_model_size",
        row,
        error,
        "reference_test_error",
        published,
        "ac71adeb, 2016-01-12",
        *_WITHDRAWN,
        misprint,
        *defects,
        "One run.",
        _NESTEROV,
    )


def _depth_again(row, error, published, *defects):
    return _cifar(
        "resnet_cifar_model_size_rerun",
        row,
        error,
        "reference_test_error",
        published,
        "f0d0a17; re-run of 2016-01-15",
        *defects,
        _STANDARD_ERROR,
        _NESTEROV,
    )


def _block(row, error, *defects):
    study, source = "resnet_cifar_architecture", "ac71adeb, 2016-01-12"
    return _cifar(study, row, error, None, None, source, *_WITHDRAWN, *defects, "One run.", _NESTEROV)


def _block_again(row, error, layers, *defects):
    day = {20: 15, 110: 19}[layers]
    return _cifar(
        "resnet_cifar_architecture_rerun",
        row if layers == 20 else f"{row}, {layers} layers",
        error,
        "layers",
        layers,
        f"f0d0a17; re-run of 2016-01-{day}",
        *defects,
        *(("The README says Nsize=19, the notebook 18, which is 110 layers.",) if layers == 110 else ()),
        _STANDARD_ERROR,
        _NESTEROV,
    )


_DEPTHS = (
    _depth("Nsize=3, 20 layers", 0.084473, 0.0875, 0.875),
    _depth("Nsize=5, 32 layers", 0.079102, 0.0751, 0.751),
    _depth("Nsize=7, 44 layers", 0.075684, 0.0717, 0.717),
    _depth("Nsize=9, 56 layers", 0.063477, 0.0697, 0.697),
    _depth("Nsize=18, 110 layers, fancy policy", 0.067871, 0.0661, 0.661, _MEAN_OF_FIVE, _WARM_UP),
    _depth_again("Nsize=3, 20 layers", 0.0829, 0.0875),
    _depth_again("Nsize=5, 32 layers", 0.0763, 0.0751),
    _depth_again("Nsize=7, 44 layers", 0.0714, 0.0717),
    _depth_again("Nsize=9, 56 layers", 0.0694, 0.0697),
    _depth_again("Nsize=18, 110 layers, fancy policy", 0.0673, 0.0661, _MEAN_OF_FIVE, _WARM_UP),
)

_BLOCKS = (
    _block("ReLU, BN after add", 0.083496, _PATCH_LOST),
    _block("No ReLU, BN before add", 0.089355, _PATCH_LOST),
    _block("No ReLU, BN after add", 0.079102, _PATCH_LOST),
    _block("ReLU, BN before add (ORIG PAPER)", 0.084473),
    _block_again("ReLU, BN after add", 0.0834, 20, _PATCH_LOST),
    _block_again("No ReLU, BN before add", 0.0862, 20, _PATCH_LOST),
    _block_again("No ReLU, BN after add", 0.0823, 20, _PATCH_LOST),
    _block_again("ReLU, BN before add (ORIG PAPER)", 0.0829, 20),
    _block_again("ReLU, BN after add", 0.1356, 110, _PATCH_LOST),
    _block_again("No ReLU, BN before add", 0.0632, 110, _PATCH_LOST),
    _block_again("No ReLU, BN after add", 0.1230, 110, _PATCH_LOST),
    _block_again("ReLU, BN before add (ORIG PAPER)", 0.0697, 110),
)

_SETTINGS = (
    'The post gives no settings: those of "Dive into Deep Learning" lead to the same curve without batch norm, with a '
    "dropout of 0.5 behind fc1 in place of 0.2."
)
_TWO_DIFFERENCES = "The two networks differ in batch norm and in fc2: 4096 units without, 2048 with it."
_NOT_TUNED = "As far as is known the learning rate is that of the network without batch norm."
_CHOSEN = "The epoch was chosen on the test set."
_WHILE_LEARNING = (
    "Loss and accuracy of the training are running averages over the epoch, with dropout and, if there is batch "
    "norm, batch statistics."
)
_COMPUTED = "Computed here from the printed lines."


def _fashion(network, what, metric, value, metric2, value2, *defects):
    untuned = (_NOT_TUNED,) if network == "with BN" else ()
    return Reference(
        study="alexnet_fashion_mnist",
        row=f"{network}, {what}",
        dataset="Fashion-MNIST, 224 px",
        metric=metric,
        value=value,
        metric2=metric2,
        value2=value2,
        source='blog post "BN - Batch normalization" (MXNet Gluon, AlexNet on Fashion-MNIST)',
        defects=(*defects, _TWO_DIFFERENCES, *untuned, "One run.", _SETTINGS),
    )


_FASHION = (
    _fashion("without BN", "epoch 40 (final)", "test_accuracy", 0.921, "train_accuracy", 0.941, _WHILE_LEARNING),
    _fashion("without BN", "best test accuracy", "test_accuracy", 0.922, "epoch", 37, _CHOSEN),
    _fashion("without BN", "epoch 40 (final), loss", "train_loss", 0.1554, "seconds", 39.5, _WHILE_LEARNING),
    _fashion("without BN", "epoch 1", "test_accuracy", 0.762, "train_accuracy", 0.508, _WHILE_LEARNING),
    _fashion("without BN", "mean of epochs 31-40", "test_accuracy", 0.9197, None, None, _COMPUTED),
    _fashion("with BN", "epoch 40 (final)", "test_accuracy", 0.937, "train_accuracy", 0.997, _WHILE_LEARNING),
    _fashion("with BN", "best test accuracy", "test_accuracy", 0.939, "epoch", 33, _CHOSEN),
    _fashion("with BN", "epoch 40 (final), loss", "train_loss", 0.0105, "seconds", 45.2, _WHILE_LEARNING),
    _fashion("with BN", "epoch 1", "test_accuracy", 0.867, "train_accuracy", 0.802, _WHILE_LEARNING),
    _fashion("with BN", "mean of epochs 31-40", "test_accuracy", 0.9361, None, None, _COMPUTED),
)


def _resnet50(row, accuracy):
    return Reference(
        study="resnet50_bn_wn",
        row=row,
        dataset="ImageNet (ILSVRC-2012)",
        metric="top1_accuracy",
        value=accuracy,
        metric2=None,
        value2=None,
        source="Gitman, Ginsburg 2017, arXiv 1709.08145, as given in a published summary",
        defects=(
            "Approximate: the summary has it with a tilde.",
            "As far as is known one run.",
            "The one with batch norm is 2 points below the 0.753 of He et al. at one crop: compare differences.",
            "Learning rate, weight decay, initialization and any factor of the residual sums are unknown.",
        ),
    )


_WEIGHT_NORM = (_resnet50("BN", 0.73), _resnet50("WN", 0.67))

REFERENCES = (
    *_PLACES,
    *_ACTIVATIONS,
    *_DROPOUTS,
    *_INITIALIZATIONS,
    *_DEPTHS,
    *_BLOCKS,
    *_FASHION,
    *_WEIGHT_NORM,
)
