"""Residual networks: depth and alternate blocks on CIFAR-10, and ResNet-50 with other normalizations.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, https://arxiv.org/abs/1512.03385;
https://github.com/gcr/torch-residual-networks, whose settings these are: 200 epochs, hours on a GPU.

Gitman and Ginsburg, "Comparison of Batch Normalization and Weight Normalization Algorithms for the Large-scale Image
Classification", 2017, https://arxiv.org/abs/1709.08145: ResNet-50, 120 epochs of ImageNet.

    python drivers/train.py --recipe resnet20_no_relu
"""

from keras_norms.recipes import recipe
from keras_norms.recipes.published import row

_TORCH = (
    "An image of the means of all pixels was subtracted; here the mean of each channel.",
    "Batches were drawn with replacement, 390.625 of them an epoch; here each image is seen once, in 390 batches.",
    "Scales of batch norm started near 1, those of later versions of the code between 0 and 1; here at 1.",
)
_FANCY = "The rate is 0.001 for 400 steps first, as the author tells; his code does not have it."

RESNET20 = recipe.Recipe(
    "resnet20",
    name="resnet20",
    dataset="cifar10",
    keeps_bias=True,
    pixel_mean=(125.307, 122.950, 113.865),
    pixel_deviation=(64.1497, 64.1497, 64.1497),
    batch_size=128,
    epochs=200,
    learning_rate=0.1,
    schedule="step",
    drops=(0.4, 0.6),
    optimizer="torch_sgd",
    nesterov=True,
    weight_decay=1e-4,
    decay_mult=(("*", 1.0),),
)
_RESNET110 = RESNET20.but(name="resnet110", arch="resnet110", warmup_steps=400, warmup_rate=0.001)
_BLOCKS = {
    "no_relu": (("activated_sum", False),),
    "bn_after_add": (("normalized_sum", True),),
    "no_relu_bn_after_add": (("activated_sum", False), ("normalized_sum", True)),
}
_LABELS = {
    "no_relu": "No ReLU, BN before add",
    "bn_after_add": "ReLU, BN after add",
    "no_relu_bn_after_add": "No ReLU, BN after add",
}
_ORIGINAL = "ReLU, BN before add (ORIG PAPER)"

_RESNET50 = recipe.Recipe(
    "resnet50",
    name="resnet50_bn",
    dataset="imagenet2012",
    margin=32,
    batch_size=256,
    epochs=120,
    learning_rate=0.1,
    schedule="step",
    drops=(0.25, 0.5, 0.75),
    weight_decay=1e-4,
)
_UNPUBLISHED = {"normprop": "NormProp", "weight_norm_trelu": "WN + TReLU", "none": "no normalization"}
_UNKNOWN = (
    "Rate, schedule, weight decay, initialization and the scaling of residual sums are not published: here those of "
    "He et al., with drops after 30, 60 and 90 epochs.",
)


def _depth(recipe, n, layers, parameters, multiply_adds, *found, unlike=_TORCH):
    policy = ", fancy policy" if layers == 110 else ""
    block = ", ReLU, BN before add" if found else ""
    depth = f"Nsize={n}, {layers} layers{policy}"
    found = (("resnet_cifar_model_size_rerun", depth), ("resnet_cifar_model_size", depth), *found)
    return row(recipe, f"{layers} layers{block}", found, parameters, multiply_adds, unlike=unlike)


def _block(baseline, name, parameters, multiply_adds, suffix="", unlike=_TORCH):
    found = [("resnet_cifar_architecture_rerun", _LABELS[name] + suffix)]
    if not suffix:
        found.append(("resnet_cifar_architecture", _LABELS[name]))
    alternate = baseline.but(name=f"{baseline.name}_{name}", options=_BLOCKS[name])
    return row(alternate, _LABELS[name] + suffix, found, parameters, multiply_adds, unlike=unlike)


def _resnet50(name, normalization, *found, parameters=25_557_032, **differences):
    variant = _RESNET50.but(name=name, normalization=normalization, **differences)
    label = found[0] if found else _UNPUBLISHED[normalization]
    found = [("resnet50_bn_wn", label) for label in found]
    return row(variant, label, found, parameters, 3_858.0, unlike=_UNKNOWN)


ROWS = (
    _depth(
        RESNET20, 3, 20, 270_410, 40.6,
        ("resnet_cifar_architecture_rerun", _ORIGINAL), ("resnet_cifar_architecture", _ORIGINAL),
    ),
    _depth(RESNET20.but(name="resnet32", arch="resnet32"), 5, 32, 465_290, 68.9),
    _depth(RESNET20.but(name="resnet44", arch="resnet44"), 7, 44, 660_170, 97.2),
    _depth(RESNET20.but(name="resnet56", arch="resnet56"), 9, 56, 855_050, 125.5),
    _depth(
        _RESNET110, 18, 110, 1_732_010, 252.9,
        ("resnet_cifar_architecture_rerun", f"{_ORIGINAL}, 110 layers"), unlike=(*_TORCH, _FANCY),
    ),
    *(_block(RESNET20, name, 270_410, 40.6) for name in _BLOCKS),
    *(_block(_RESNET110, name, 1_732_010, 252.9, ", 110 layers", (*_TORCH, _FANCY)) for name in _BLOCKS),
    _resnet50("resnet50_bn", "batch_norm_before", "BN"),
    _resnet50("resnet50_weight_norm", "weight_norm", "WN", initialization="residual_weight_norm"),
    _resnet50("resnet50_normprop", "normprop"),
    _resnet50("resnet50_weight_norm_trelu", "weight_norm_trelu", parameters=25_526_632),
    _resnet50("resnet50", "none", parameters=25_530_472),
)  # fmt: skip
