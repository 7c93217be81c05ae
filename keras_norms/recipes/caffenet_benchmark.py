"""The batch norm tables of the caffenet-benchmark: CaffeNet128 and GoogLeNet128 on ImageNet at 128 pixels.

Mishkin, Sergievskiy and Matas, "Systematic evaluation of CNN advances on the ImageNet", 2017,
https://arxiv.org/abs/1606.02228; https://github.com/ducha-aiki/caffenet-benchmark, `batchnorm.md`.

    python drivers/train.py --recipe caffenet128_bn_after

takes 320,000 steps of 256 images (64 epochs). "BN" in a row's name is batch norm alone, without scale and bias, unless
the row says otherwise. LSUV is that of the tool of 2015: it measured behind activations that Caffe computes in place.
"""

from keras_norms.recipes import recipe
from keras_norms.recipes.published import row

_READING = (
    "Images were read in one order, shuffled once; here the order is a new one in each epoch.",
    "Images were resized by Caffe or OpenCV, some with cubic interpolation; here bilinearly, without aliasing.",
    "The mean of the red channel was 124 in training and 123 in the test; here 124 in both.",
)
_OTHER_BIAS = "The bias of batch norm started at 0.0001; here at 0."
_OTHER_SCALE = "The scale of batch norm started at 1.0000001; here at 1."
_LSUV = "LSUV was run once, by a tool of its own; whether it made kernels orthonormal first is not known. Here it does."

_SCALES_DECAY = (("kernel", 1.0), ("scale", 1.0))

_COMMON = {
    "dataset": "imagenet2012",
    "normalization": "none",
    "initialization": "lsuv_after_activation",
    "margin": 16,
    "pixel_mean": (124.0, 117.0, 104.0),
    "pixel_deviation": (25.0, 25.0, 25.0),
    "steps": 320_000,
    "learning_rate": 0.01,
    "lr_mult": (("bias", 2.0),),
}
CAFFENET128 = recipe.Recipe(
    "caffenet128",
    name="caffenet128",
    **_COMMON,
    batch_size=256,
    schedule="step",
    drops=(0.3125, 0.625, 0.9375),
    weight_decay=5e-4,
)
_BEFORE = CAFFENET128.but(
    name="caffenet128_bn_before",
    normalization="batch_norm_before",
    use_scale=False,
    use_bias=False,
    initialization="lsuv",
)
_AFTER = CAFFENET128.but(name="caffenet128_bn_after", normalization="batch_norm_after", use_scale=False, use_bias=False)
_WITH_SCALE_AND_BIAS = {"use_scale": True, "use_bias": True, "decay_mult": _SCALES_DECAY}
# Caffe's Scale layer: its bias has the rate of its scale, unlike biases of convolutions, of which there are none then.
_SCALE_LAYER = {**_WITH_SCALE_AND_BIAS, "keeps_bias": False, "lr_mult": (("fc8/bias", 2.0),)}

GOOGLENET128 = recipe.Recipe(
    "googlenet128",
    name="googlenet128",
    **_COMMON,
    batch_size=255,
    micro_batches=3,
    schedule="linear",
    weight_decay=2e-4,
)
_GOOGLENET_BEFORE = GOOGLENET128.but(
    name="googlenet128_bn_before_scale_bias",
    normalization="batch_norm_before",
    initialization="lsuv",
    batch_size=256,
    micro_batches=2,
    lr_mult=(("bias", 2.0), ("*_batch_norm/bias", 1.0)),
    decay_mult=(*_SCALES_DECAY, ("*_batch_norm/bias", 1.0)),
)
_GOOGLENET_AFTER = GOOGLENET128.but(
    name="googlenet128_bn_after",
    normalization="batch_norm_after",
    use_scale=False,
    use_bias=False,
    batch_size=256,
    micro_batches=8,
)

_PLACES, _ACTIVATIONS, _DROPOUT, _STARTS = "bn_before_after", "bn_activations", "bn_dropout", "bn_arch_init"


def _caffenet(recipe, label, *found, parameters=13_300_072, multiply_adds=208.99, curve, unlike=()):
    return row(recipe, label, found, parameters, multiply_adds, curve=curve, unlike=(*_READING, *unlike))


def _googlenet(recipe, label, found, parameters=10_232_552, multiply_adds=521.1, unlike=(), **more):
    return row(recipe, label, ((_STARTS, found),), parameters, multiply_adds, unlike=(*_READING, *unlike), **more)


ROWS = (
    _caffenet(CAFFENET128, "Caffenet", (_STARTS, "Caffenet"), curve="caffenet128_rerun", unlike=(_LSUV,)),
    _caffenet(_BEFORE, "Before", (_PLACES, "Before"), curve="bn_before", unlike=(_LSUV,)),
    _caffenet(
        _BEFORE.but(name="caffenet128_bn_before_scale_bias", **_WITH_SCALE_AND_BIAS),
        "Before + scale&bias layer",
        (_PLACES, "Before + scale&bias layer"),
        (_STARTS, "Caffenet BN Before + scale&bias layer LSUV"),
        parameters=13_311_016,
        curve="bn_before_affine",
        unlike=(_LSUV, _OTHER_BIAS),
    ),
    _caffenet(
        _AFTER,
        "After",
        (_PLACES, "After"),
        (_ACTIVATIONS, "ReLU"),
        (_DROPOUT, "Dropout = 0.5"),
        (_STARTS, "Caffenet BN After LSUV"),
        curve="bn_after",
        unlike=(_LSUV,),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_scale_bias", **_WITH_SCALE_AND_BIAS),
        "After + scale&bias layer",
        (_PLACES, "After + scale&bias layer"),
        parameters=13_311_016,
        curve="bn_after_affine",
        unlike=(_LSUV, _OTHER_BIAS),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_rrelu", activation="rrelu_10_30"),
        "RReLU",
        (_ACTIVATIONS, "RReLU"),
        curve="bn_act_rrelu",
        unlike=(_LSUV,),
    ),
    _caffenet(
        _AFTER.but(
            name="caffenet128_bn_after_prelu", activation="prelu_0.3", decay_mult=(("kernel", 1.0), ("slope", 1.0))
        ),
        "PReLU",
        (_ACTIVATIONS, "PReLU"),
        parameters=13_305_544,
        curve="bn_act_prelu",
        unlike=(_LSUV, "How this network was initialized is not known: the tool could not handle learned slopes."),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_elu", activation="elu"),
        "ELU",
        (_ACTIVATIONS, "ELU"),
        curve="bn_act_elu",
        unlike=(_LSUV, "It was stopped at 304,000 of 320,000 steps."),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_maxout", arch="caffenet128_maxout", initialization="lsuv"),
        "Maxout",
        (_ACTIVATIONS, "Maxout"),
        parameters=12_469_892,
        multiply_adds=221.09,
        curve="bn_act_maxout",
        unlike=(_LSUV,),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_sigmoid", activation="sigmoid", micro_batches=2),
        "Sigmoid",
        (_ACTIVATIONS, "Sigmoid"),
        curve="bn_act_sigmoid",
        unlike=(_LSUV,),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_tanh", activation="tanh", micro_batches=4),
        "TanH",
        (_ACTIVATIONS, "TanH"),
        curve="bn_act_tanh",
        unlike=(_LSUV, "20,000 of the 50,000 test images were seen in a test; here all are."),
    ),
    _caffenet(
        _BEFORE.but(name="caffenet128_bn_linear", activation="linear", **_SCALE_LAYER),
        "No",
        (_ACTIVATIONS, "No"),
        parameters=13_305_544,
        curve="bn_act_none",
        unlike=(_LSUV, _OTHER_SCALE),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_dropout_0.2", dropout=0.2),
        "Dropout = 0.2",
        (_DROPOUT, "Dropout = 0.2"),
        curve="bn_dropout02",
        unlike=(_LSUV,),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_dropout_0", dropout=0.0),
        "Dropout = 0",
        (_DROPOUT, "Dropout = 0"),
        curve="bn_dropout0",
        unlike=(_LSUV,),
    ),
    _caffenet(
        _BEFORE.but(name="caffenet128_bn_before_scale_bias_orthonormal", initialization="orthonormal", **_SCALE_LAYER),
        "Caffenet BN Before + scale&bias layer Ortho",
        (_STARTS, "Caffenet BN Before + scale&bias layer Ortho"),
        parameters=13_305_544,
        curve="caffenet128_bn_before_affine_ortho",
        unlike=(_OTHER_SCALE,),
    ),
    _caffenet(
        _AFTER.but(name="caffenet128_bn_after_orthonormal", initialization="orthonormal"),
        "Caffenet BN After Ortho",
        (_STARTS, "Caffenet BN After Ortho"),
        curve="caffenet128_bn_after_ortho",
    ),
    _googlenet(
        GOOGLENET128,
        "GoogLeNet128",
        "GoogLeNet128",
        curve="googlenet128",
        unlike=("How this network was initialized is not known; the page is about LSUV.",),
    ),
    _googlenet(
        _GOOGLENET_BEFORE,
        "GoogLeNet BN Before + scale&bias layer LSUV",
        "GoogLeNet BN Before + scale&bias layer LSUV",
        parameters=10_251_720,
        protocols=(("batch", 50),),
        curve="googlenet128_bn_before_affine_lsuv",
        unlike=(_LSUV, _OTHER_SCALE),
    ),
    _googlenet(
        _GOOGLENET_BEFORE.but(
            name="googlenet128_bn_before_scale_bias_orthonormal",
            normalization="batch_norm_before_scalar",
            initialization="orthonormal",
            micro_batches=8,
            lr_mult=(("bias", 2.0), ("*_bias/bias", 1.0)),
            decay_mult=(*_SCALES_DECAY, ("*_bias/bias", 1.0)),
        ),
        "GoogLeNet BN Before + scale&bias layer Ortho",
        "GoogLeNet BN Before + scale&bias layer Ortho",
        parameters=10_232_674,
        protocols=(("batch", 20),),
        curve="googlenet128_bn_before_affine_ortho",
        unlike=(
            "Most likely, as here, one scale and one bias stood for all channels of a layer: the published file of "
            "that time has it so.",
        ),
    ),
    _googlenet(
        _GOOGLENET_AFTER,
        "GoogLeNet BN After LSUV",
        "GoogLeNet BN After LSUV",
        protocols=(("batch", 20),),
        curve="googlenet128_bn_after_lsuv",
        unlike=(_LSUV,),
    ),
    _googlenet(
        _GOOGLENET_AFTER.but(name="googlenet128_bn_after_orthonormal", initialization="orthonormal", micro_batches=4),
        "GoogLeNet BN After Ortho",
        "GoogLeNet BN After Ortho",
        protocols=(("batch", 20),),
        curve="googlenet128_bn_after_ortho",
        unlike=("The published file has 8 parts of 32 images, the log batches of 64: 4 parts of 64 here.",),
    ),
    _googlenet(
        GOOGLENET128.but(
            name="googlenet128_bn_lim0606",
            arch="googlenet128_bn",
            normalization="batch_norm_before",
            initialization="lsuv",
            batch_size=128,
            micro_batches=1,
            steps=640_000,
            learning_rate=0.005,
            lr_mult=(("*_classifier/bias", 2.0),),
            decay_mult=(*_SCALES_DECAY, ("*_batch_norm/bias", 1.0)),
        ),
        "GoogLeNet128_BN_lim0606",
        "GoogLeNet128_BN_lim0606",
        parameters=14_109_752,
        multiply_adds=663.0,
        unlike=(_LSUV,),
    ),
)
