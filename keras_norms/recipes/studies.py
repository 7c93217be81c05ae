"""The studies: questions, and the published recipes that answer them when all of them are trained alike."""

import dataclasses

_CAFFENET_BENCHMARK = "https://github.com/ducha-aiki/caffenet-benchmark (batchnorm.md); arXiv 1606.02228"
_TORCH_RESIDUAL_NETWORKS = "https://github.com/gcr/torch-residual-networks"
_BLOCKS = "Does batch norm belong before or behind the addition, and does a unit need its last ReLU?"


@dataclasses.dataclass(frozen=True)
class Study:
    """A table of trainings that differ in one thing.

    Attributes:
        title: String.
        question: String, a sentence.
        rows: Tuple of names of `PUBLISHED`, in the order of the published table.
        baseline: String, the row that others are compared with.
        source: String, where the table was published.
        probe: Boolean, whether a probe looks into the networks while they are trained.
    """

    title: str
    question: str
    rows: tuple
    baseline: str
    source: str
    probe: bool = False


STUDIES = {
    "bn_placement": Study(
        "Where batch norm stands, and its scale and bias",
        "Does batch norm belong before or after the ReLU, and does it need a learned scale and bias?",
        (
            "caffenet128",
            "caffenet128_bn_before",
            "caffenet128_bn_before_scale_bias",
            "caffenet128_bn_after",
            "caffenet128_bn_after_scale_bias",
        ),
        "caffenet128_bn_before",
        _CAFFENET_BENCHMARK,
    ),
    "bn_activations": Study(
        "Batch norm and activations",
        "Which activation serves batch norm best that stands behind it?",
        (
            "caffenet128_bn_after",
            "caffenet128_bn_after_rrelu",
            "caffenet128_bn_after_prelu",
            "caffenet128_bn_after_elu",
            "caffenet128_bn_after_maxout",
            "caffenet128_bn_after_sigmoid",
            "caffenet128_bn_after_tanh",
            "caffenet128_bn_linear",
        ),
        "caffenet128_bn_after",
        _CAFFENET_BENCHMARK,
    ),
    "bn_dropout": Study(
        "Batch norm and dropout",
        "How much dropout does a network with batch norm want?",
        ("caffenet128_bn_after", "caffenet128_bn_after_dropout_0.2", "caffenet128_bn_after_dropout_0"),
        "caffenet128_bn_after",
        _CAFFENET_BENCHMARK,
    ),
    "bn_initialization": Study(
        "Batch norm, initialization and network",
        "Does the start matter once there is batch norm, and is it the same for GoogLeNet?",
        (
            "caffenet128",
            "caffenet128_bn_before_scale_bias",
            "caffenet128_bn_before_scale_bias_orthonormal",
            "caffenet128_bn_after",
            "caffenet128_bn_after_orthonormal",
            "googlenet128",
            "googlenet128_bn_before_scale_bias",
            "googlenet128_bn_before_scale_bias_orthonormal",
            "googlenet128_bn_after",
            "googlenet128_bn_after_orthonormal",
            "googlenet128_bn_lim0606",
        ),
        "caffenet128",
        _CAFFENET_BENCHMARK,
    ),
    "resnet_depth": Study(
        "Depth of residual networks",
        "Do deeper residual networks do better on CIFAR-10?",
        ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
        "resnet20",
        f"{_TORCH_RESIDUAL_NETWORKS}; arXiv 1512.03385, table 6",
    ),
    "residual_blocks": Study(
        "Alternate residual blocks, 20 layers",
        _BLOCKS,
        ("resnet20_bn_after_add", "resnet20_no_relu", "resnet20_no_relu_bn_after_add", "resnet20"),
        "resnet20",
        _TORCH_RESIDUAL_NETWORKS,
    ),
    "residual_blocks_110": Study(
        "Alternate residual blocks, 110 layers",
        _BLOCKS,
        ("resnet110_bn_after_add", "resnet110_no_relu", "resnet110_no_relu_bn_after_add", "resnet110"),
        "resnet110",
        _TORCH_RESIDUAL_NETWORKS,
    ),
    "alexnet_bn": Study(
        "AlexNet on Fashion-MNIST, with and without batch norm",
        "What does batch norm bring AlexNet, when the width of its second dense layer is the same?",
        ("alexnet", "alexnet_bn_fc2_2048", "alexnet_bn", "alexnet_fc2_2048"),
        "alexnet",
        'blog post "BN - Batch normalization" (MXNet Gluon), after "Dive into Deep Learning"',
    ),
    "bn_vs_weight_norm": Study(
        "Batch norm against weight norm, NormProp and TReLU",
        "Do methods that normalize weights train as well as batch norm, and stay as stable?",
        ("resnet50_bn", "resnet50_weight_norm", "resnet50_normprop", "resnet50_weight_norm_trelu", "resnet50"),
        "resnet50_bn",
        "https://arxiv.org/abs/1709.08145",
        probe=True,
    ),
}
