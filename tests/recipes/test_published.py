"""The published recipes: each is what the facts say, on paper and as a network."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from keras_norms import models, recipes
from keras_norms.recipes import PUBLISHED, STUDIES, Recipe, curves, references
from keras_norms.training import optimizers, schedules, steps

# Trainable parameters and millions of multiply-adds with auxiliary classifiers, as the sources or counts by hand have
# them: 26,560 channels and 53 layers of batch norm in ResNet-50, whose 49 ReLUs have 22,720 channels.
PARAMETERS = {
    "caffenet128": 13_300_072,
    "caffenet128_bn_before": 13_300_072,
    "caffenet128_bn_before_scale_bias": 13_311_016,
    "caffenet128_bn_after": 13_300_072,
    "caffenet128_bn_after_scale_bias": 13_311_016,
    "caffenet128_bn_after_rrelu": 13_300_072,
    "caffenet128_bn_after_prelu": 13_305_544,
    "caffenet128_bn_after_elu": 13_300_072,
    "caffenet128_bn_after_maxout": 12_469_892,
    "caffenet128_bn_after_sigmoid": 13_300_072,
    "caffenet128_bn_after_tanh": 13_300_072,
    "caffenet128_bn_linear": 13_305_544,
    "caffenet128_bn_after_dropout_0.2": 13_300_072,
    "caffenet128_bn_after_dropout_0": 13_300_072,
    "caffenet128_bn_before_scale_bias_orthonormal": 13_305_544,
    "caffenet128_bn_after_orthonormal": 13_300_072,
    "googlenet128": 10_232_552,
    "googlenet128_bn_before_scale_bias": 10_251_720,
    "googlenet128_bn_before_scale_bias_orthonormal": 10_232_674,
    "googlenet128_bn_after": 10_232_552,
    "googlenet128_bn_after_orthonormal": 10_232_552,
    "googlenet128_bn_lim0606": 14_109_752,
    "resnet20": 270_410,
    "resnet32": 465_290,
    "resnet44": 660_170,
    "resnet56": 855_050,
    "resnet110": 1_732_010,
    **{f"resnet20_{block}": 270_410 for block in ("no_relu", "bn_after_add", "no_relu_bn_after_add")},
    **{f"resnet110_{block}": 1_732_010 for block in ("no_relu", "bn_after_add", "no_relu_bn_after_add")},
    "resnet50_bn": 25_557_032,
    "resnet50_weight_norm": 25_557_032,
    "resnet50_normprop": 25_557_032,
    "resnet50_weight_norm_trelu": 25_557_032 - 53_120 + 22_720,
    "resnet50": 25_557_032 - 53_120 + 26_560,
    "alexnet": 46_764_746,
    "alexnet_bn_fc2_2048": 38_368_650,
    "alexnet_bn": 46_783_882,
    "alexnet_fc2_2048": 38_353_610,
}
MULTIPLY_ADDS = {"resnet50": 3_858, "resnet20": 40.6, "resnet32": 68.9, "resnet44": 97.2, "resnet56": 125.5}
MULTIPLY_ADDS |= {"caffenet128": 208.99, "caffenet128_maxout": 221.09, "googlenet128": 521.1, "googlenet128_bn": 663.0}
MULTIPLY_ADDS |= {"resnet110": 252.9}
# Positions times outputs times what each is the sum of, of five convolutions; then the dense layers.
_CONVOLUTIONS = 54**2 * 96 * 121 + 26**2 * 256 * 25 * 96 + 12**2 * 9 * (256 * 384 + 384 * 384 + 384 * 256)
ALEXNET = {width: (_CONVOLUTIONS + 6400 * 4096 + 4096 * width + 10 * width) / 1e6 for width in (4096, 2048)}


@functools.lru_cache(maxsize=1)
def network(name):
    recipe = PUBLISHED[name].recipe
    return models.build(
        recipe.arch,
        normalization=recipe.normalization,
        use_scale=recipe.use_scale,
        use_bias=recipe.use_bias,
        activation=recipe.activation,
        dropout=recipe.dropout,
        keeps_bias=recipe.keeps_bias,
        options=dict(recipe.options),
    )


@pytest.fixture(scope="module", params=PUBLISHED)
def name(request):
    """Returns the name of each recipe. The tests of one come after each other, and build its network once."""
    return request.param


def multipliers(name):
    """Returns factors of the rate and decays by the paths of weights, and the weights' sizes."""
    variables = network(name).trainable_variables
    found = optimizers.multipliers(PUBLISHED[name].recipe, variables)
    return {variable.path: pair for variable, pair in zip(variables, found, strict=True)}


def test_there_is_a_count_for_every_recipe():
    assert PARAMETERS.keys() == PUBLISHED.keys()
    assert all(row.recipe.name == name for name, row in PUBLISHED.items())


def test_parameters_and_multiply_adds_are_those_of_the_network(name):
    row, model = PUBLISHED[name], network(name)
    assert row.parameters == PARAMETERS[name]
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == PARAMETERS[name]
    expected = MULTIPLY_ADDS.get(row.recipe.arch) or ALEXNET[dict(row.recipe.options).get("fc2", 4096)]
    assert models.multiply_adds(model) / 1e6 == pytest.approx(expected, rel=2e-3)
    assert row.multiply_adds == pytest.approx(expected, abs=0.005)


def test_makes_a_step_of_training(name):
    recipe, model = PUBLISHED[name].recipe, network(name)
    optimizer = optimizers.optimizer(recipe, schedules.schedule(recipe, total_steps=100), "float32")
    before = [variable.numpy() for variable in model.trainable_variables]
    images = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    objective = steps.objective(models.ARCHITECTURES[recipe.arch].loss_weights)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(objective(np.array([1, 3]), model(images, training=True)))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    factors = optimizers.multipliers(recipe, model.trainable_variables)
    optimizer.apply(
        [
            rate * (gradient + decay * value)
            for (rate, decay), gradient, value in zip(factors, gradients, before, strict=True)
        ],
        model.trainable_variables,
    )
    assert np.isfinite(loss)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert np.isfinite(variable.numpy()).all(), variable.path
        assert variable.name != "kernel" or (variable.numpy() != value).any(), variable.path


def test_recipes_come_back_from_json(name):
    recipe = PUBLISHED[name].recipe
    assert Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe
    assert not recipe.differences(recipe)


def test_every_published_result_belongs_to_a_recipe():
    belonging = {(one.study, one.row) for row in PUBLISHED.values() for one in row.references}
    assert belonging == {(one.study, one.row) for one in references.REFERENCES}


def test_curves_exist():
    assert {row.curve for row in PUBLISHED.values()} - {None} <= set(curves.names())


def test_studies_have_rows_that_exist_and_all_rows_are_studied():
    assert {row for study in STUDIES.values() for row in study.rows} == PUBLISHED.keys()
    for study in STUDIES.values():
        assert study.baseline in study.rows
        assert len(set(study.rows)) == len(study.rows)


def test_rows_of_a_study_differ_from_its_baseline():
    for study in STUDIES.values():
        baseline = PUBLISHED[study.baseline].recipe
        for name in study.rows:
            differences = baseline.differences(PUBLISHED[name].recipe)
            assert (name == study.baseline) == (not differences), name


def test_rates_and_decays_of_caffe():
    plain = multipliers("caffenet128_bn_after")
    assert plain["conv1/kernel"] == (1.0, 5e-4)
    assert plain["conv1/bias"] == plain["fc8/bias"] == (2.0, 0.0)
    affine = multipliers("caffenet128_bn_before_scale_bias")
    assert affine["conv1_batch_norm/scale"] == (1.0, 5e-4)
    assert affine["conv1_batch_norm/bias"] == (2.0, 0.0)
    scale_layer = multipliers("caffenet128_bn_before_scale_bias_orthonormal")
    assert "conv1/bias" not in scale_layer
    assert scale_layer["conv1_batch_norm/bias"] == (1.0, 0.0)
    assert scale_layer["fc8/bias"] == (2.0, 0.0)
    (slope,) = {pair for path, pair in multipliers("caffenet128_bn_after_prelu").items() if path.endswith("/slope")}
    assert slope == (1.0, 5e-4)


def test_rates_and_decays_of_the_googlenets():
    affine = multipliers("googlenet128_bn_before_scale_bias")
    assert affine["conv1/bias"] == (2.0, 0.0)
    assert affine["conv1_batch_norm/bias"] == affine["conv1_batch_norm/scale"] == (1.0, 2e-4)
    scalar = multipliers("googlenet128_bn_before_scale_bias_orthonormal")
    assert scalar["conv1/bias"] == scalar["main_classifier/bias"] == (2.0, 0.0)
    assert scalar["conv1_scale/scale"] == scalar["conv1_bias/bias"] == (1.0, 2e-4)
    lim0606 = multipliers("googlenet128_bn_lim0606")
    assert lim0606["main_classifier/bias"] == (2.0, 0.0)
    assert lim0606["conv1_batch_norm/bias"] == lim0606["conv1_batch_norm/scale"] == (1.0, 2e-4)


def test_everything_decays_in_the_torch_networks():
    assert set(multipliers("resnet20").values()) == {(1.0, 1e-4)}


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("caffenet128", 81_920_000),
        ("googlenet128_bn_lim0606", 81_920_000),
        ("resnet20", 10_000_000),
        ("alexnet", 2_400_000),
        ("resnet50_bn", 120 * 1_281_167),
    ],
)
def test_cost_of_a_training(name, images):
    row = PUBLISHED[name]
    assert row.images == images
    assert row.operations == pytest.approx(6e6 * row.multiply_adds * images)


def test_what_is_told_of_a_recipe():
    recipe = PUBLISHED["caffenet128_bn_after"].recipe
    assert "as published: top1_accuracy 0.499" in recipes.told(recipe)
    told = recipes.told(recipe.but(dataset="cifar10", epochs=8, steps=None))
    assert "so not the published one" in told
    assert "dataset 'cifar10' (published: 'imagenet2012')" in told
    assert "steps None (published: 320000)" in told
    assert "batch_size" not in told
    assert recipes.told(recipes.BASELINES["resnet20"]) == "Settings for resnet20 on any data, no published recipe"


@pytest.mark.parametrize(
    ("find", "kind", "wrong", "nearest"),
    [
        (recipes.published, "recipe", "caffenet128_bn_afte", "caffenet128_bn_after"),
        (recipes.study_name, "study", "bn_placment", "bn_placement"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(find, kind, wrong, nearest):
    with pytest.raises(
        ValueError, match=f"The {kind} must be one of .*Received: {wrong!r}; the nearest is '{nearest}'"
    ):
        find(wrong)
