import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_norms import layers
from keras_norms.recipes import Recipe
from keras_norms.training import optimizers
from tests.defects import sides

RATES = [0.1] * 4 + [0.01] * 4 + [0.05] * 4
MOMENTUM, DECAY = 0.9, 0.02
FACTORS = {"kernel": (1.0, 1.0), "bias": (2.0, 0.0), "scale": (0.5, 3.0)}


class Rates(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return tf.gather(RATES, step)


# The solvers' own definitions, in float64: of a weight w, its velocity v and its gradient g, decay included.
def caffe(w, v, g, rate):
    v = MOMENTUM * v + rate * g
    return w - v, v


def caffe_nesterov(w, v, g, rate):
    before, v = v, MOMENTUM * v + rate * g
    return w - ((1 + MOMENTUM) * v - MOMENTUM * before), v


def torch_sgd(w, v, g, rate):
    v = MOMENTUM * v + g
    return w - rate * v, v


def torch_nesterov(w, v, g, rate):
    v = MOMENTUM * v + g
    return w - rate * (g + MOMENTUM * v), v


DEFINITIONS = {
    ("sgd", False): caffe,
    ("sgd", True): caffe_nesterov,
    ("torch_sgd", False): torch_sgd,
    ("torch_sgd", True): torch_nesterov,
}


def recipe(**differences):
    made = Recipe(
        "resnet20",
        momentum=MOMENTUM,
        weight_decay=DECAY,
        lr_mult=[("bias", 2.0), ("scale", 0.5)],
        decay_mult=[("kernel", 1.0), ("scale", 3.0)],
    )
    return made.but(**differences)


def path(definition, start, gradients, lr_mult=1.0, decay=0.0):
    """Returns a weight after each step."""
    w, v, seen = start.astype("float64"), np.zeros_like(start, "float64"), []
    for gradient, rate in zip(gradients, RATES, strict=True):
        w, v = definition(w, v, gradient + decay * w, rate * lr_mult)
        seen.append(w)
    return seen


def hostile_problem(hostile):
    starts = {name: hostile((3, 2), seed=seed) for seed, name in enumerate(FACTORS)}
    gradients = {name: hostile((len(RATES), 3, 2), seed=9 + seed) for seed, name in enumerate(FACTORS)}
    return starts, gradients


@pytest.mark.parametrize(("name", "nesterov"), DEFINITIONS)
def test_weights_go_the_way_of_the_definition(name, nesterov, hostile):
    starts, gradients = hostile_problem(hostile)
    made = recipe(optimizer=name, nesterov=nesterov)
    variables = [keras.Variable(start, name=kind) for kind, start in starts.items()]
    descent = optimizers.optimizer(made, Rates(), "float32")
    descent.build(variables)
    factors = optimizers.multipliers(made, variables)
    ways = {
        # Caffe has the factor in the rate. So has Torch, in groups of parameters.
        kind: path(DEFINITIONS[name, nesterov], starts[kind], gradients[kind], lr_mult, DECAY * decay_mult)
        for kind, (lr_mult, decay_mult) in FACTORS.items()
    }
    for number in range(len(RATES)):
        descent.apply_gradients(
            (lr_mult * (gradients[v.name][number] + decay * v.value), v)
            for (lr_mult, decay), v in zip(factors, variables, strict=True)
        )
        for variable in variables:
            # Float32 rounds a dozen sums.
            np.testing.assert_allclose(variable.numpy(), ways[variable.name][number], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["sgd", "torch_sgd"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_replicas_go_the_same_way(name, nesterov, strategy, hostile):
    """Each replica's own weight and velocity, by the sum of the gradients of both."""
    start, gradients = hostile((3, 2)), hostile((len(RATES), 2, 3, 2), seed=1)
    made = recipe(optimizer=name, nesterov=nesterov)
    with strategy.scope():
        variable = keras.Variable(start, name="kernel")
        descent = optimizers.optimizer(made, Rates(), "float32")
        descent.build([variable])

    @tf.function
    def step(gradients):
        def replica_step():
            own = gradients[tf.distribute.get_replica_context().replica_id_in_sync_group]
            descent.apply_gradients([(own, variable)])

        strategy.run(replica_step)

    way = path(DEFINITIONS[name, nesterov], start, gradients.astype("float64").sum(1))
    for gradient, expected in zip(gradients, way, strict=True):
        step(tf.constant(gradient))
        for value in on_replicas(strategy, variable):
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-4)


def test_problem_tells_the_definitions_apart(hostile):
    starts, gradients = hostile_problem(hostile)
    ways = [path(definition, starts["kernel"], gradients["kernel"]) for definition in DEFINITIONS.values()]
    for one in range(4):
        for other in range(one):
            # Caffe's and Torch's are the same until the rate has changed.
            same = [np.allclose(a, b, rtol=1e-3) for a, b in zip(ways[one], ways[other], strict=True)]
            assert same[:4] == [(one, other) in ((2, 0), (3, 1))] * 4
            assert not any(same[4:])


@pytest.mark.parametrize("descent", [optimizers.CaffeSGD, optimizers.TorchSGD])
def test_without_momentum_is_plain_descent(descent, hostile):
    starts, gradients = hostile_problem(hostile)
    variable = keras.Variable(starts["kernel"], name="kernel")
    descent(0.5).apply([gradients["kernel"][0]], [variable])
    np.testing.assert_allclose(variable.numpy(), starts["kernel"] - 0.5 * gradients["kernel"][0], rtol=1e-6)


@pytest.mark.parametrize("descent", [optimizers.CaffeSGD, optimizers.TorchSGD])
def test_comes_back_from_its_config(descent):
    optimizer = descent(0.1, momentum=0.8, nesterov=True)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, descent)
    assert again.get_config() == optimizer.get_config()


def test_factors_are_those_of_the_kind():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.WeightNormalization(keras.layers.Dense(2)),
            layers.TReLU(),
            layers.BatchNorm(use_scale=True, use_bias=True),
        ]
    )
    made = recipe(
        weight_decay=0.1,
        lr_mult=(("kernel_scale", 3.0), ("*", 0.5)),
        decay_mult=(("kernel", 0.0), ("kernel_scale", 2.0), ("*", 1.0)),
    )
    factors = dict(
        zip(
            (v.name for v in model.trainable_variables),
            optimizers.multipliers(made, model.trainable_variables),
            strict=True,
        )
    )
    assert factors == {
        "kernel": (0.5, 0.0),
        "kernel_scale": (3.0, 0.2),
        "bias": (0.5, 0.1),
        "threshold": (0.5, 0.1),
        "scale": (0.5, 0.1),
    }


def test_kernels_alone_decay_by_default():
    variables = [keras.Variable(1.0, name=name) for name in ("kernel", "bias", "scale")]
    made = Recipe("resnet20", weight_decay=0.1)
    assert optimizers.multipliers(made, variables) == [(1.0, 0.1), (1.0, 0.0), (1.0, 0.0)]


@pytest.fixture
def of_network():
    """Trainable variables of two convolutions, each with a batch norm."""
    images = x = keras.Input((8, 8, 3))
    for name in ("conv1", "conv2"):
        x = keras.layers.Conv2D(2, 3, name=name)(x)
        x = layers.BatchNorm(use_scale=True, use_bias=True, name=f"{name}_batch_norm")(x)
    return keras.Model(images, x).trainable_variables


def factors_of(entry, pairs, variables):
    """Returns the factors by path, of decays those of a weight decay of 1."""
    found = optimizers.multipliers(recipe(weight_decay=1.0, **{entry: pairs}), variables)
    return {v.path: pair[entry == "decay_mult"] for v, pair in zip(variables, found, strict=True)}


@pytest.mark.parametrize(("entry", "rest"), [("lr_mult", 1.0), ("decay_mult", 0.0)])
@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        # Caffe: twice the rate for biases of layers, but not for those of batch norm.
        (
            [("bias", 2.0), ("*_batch_norm/bias", 0.5)],
            {"conv1/bias": 2, "conv2/bias": 2, "conv1_batch_norm/bias": 0.5, "conv2_batch_norm/bias": 0.5},
        ),
        # A pattern holds before a name wherever it stands, and the last one of several.
        (
            [("*_batch_norm/bias", 0.5), ("bias", 2.0)],
            {"conv1/bias": 2, "conv2/bias": 2, "conv1_batch_norm/bias": 0.5, "conv2_batch_norm/bias": 0.5},
        ),
        ([("*/scale", 3.0), ("conv1_*/*", 4.0)], {"conv1_batch_norm/scale": 4, "conv1_batch_norm/bias": 4,
         "conv2_batch_norm/scale": 3}),
        ([("conv1_*/*", 4.0), ("*/scale", 3.0)], {"conv1_batch_norm/scale": 3, "conv1_batch_norm/bias": 4,
         "conv2_batch_norm/scale": 3}),
        # A whole path, a choice of letters, and nothing of what is left.
        (
            [("conv2/kernel", 5.0), ("conv[13]/bias", 6.0), ("*", 7.0)],
            {
                "conv1/kernel": 7, "conv1/bias": 6, "conv2/kernel": 5, "conv2/bias": 7, "conv1_batch_norm/scale": 7,
                "conv1_batch_norm/bias": 7, "conv2_batch_norm/scale": 7, "conv2_batch_norm/bias": 7,
            },
        ),
        ([("conv1/kernel", 0.0)], {"conv1/kernel": 0}),
    ],
)  # fmt: skip
def test_patterns_of_paths_hold_before_names(of_network, entry, rest, pairs, expected):
    assert len(of_network) == 8
    assert factors_of(entry, pairs, of_network) == {**{v.path: rest for v in of_network}, **expected}


@pytest.mark.parametrize("entry", ["lr_mult", "decay_mult"])
@pytest.mark.parametrize(
    "pattern",
    [
        "*_batch_norm/offset",
        "conv3/*",
        "CONV1/bias",  # letters as they are
        "*_batch_norm",  # without a slash it is a name
        "conv1",
        "norm/bias",  # all of a path, not a part
    ],
)
def test_pattern_that_fits_no_path_is_refused(of_network, entry, pattern):
    words = rf"`{entry}` must name .*\['bias', 'kernel', 'scale'\], patterns of .*'conv1/kernel', or '\*'\. Received: "
    with pytest.raises(ValueError, match=words + re.escape(repr(pattern))):
        factors_of(entry, [("bias", 2.0), (pattern, 2.0)], of_network)


@pytest.mark.parametrize("entry", ["lr_mult", "decay_mult"])
def test_kind_that_the_network_lacks_is_refused(entry):
    variables = [keras.Variable(1.0, name=name) for name in ("kernel", "bias", "scale")]
    with pytest.raises(ValueError, match=rf"`{entry}` must name kinds .*'bias', 'kernel', 'scale'.*Received: 'biases'"):
        optimizers.multipliers(recipe(**{entry: (("biases", 2.0),)}), variables)


def with_loss_scale(strategy, optimizer):
    """Returns two weights, the optimizer, and a step that takes the gradients of each replica."""
    with strategy.scope():
        weights = [keras.Variable([1.0, -2.0], name="kernel"), keras.Variable(5.0, name="bias")]
        descent = optimizer(keras.optimizers.SGD(0.5, momentum=0.9), initial_scale=8.0, dynamic_growth_steps=3)
        descent.build(weights)

    @tf.function
    def step(gradients):
        def replica_step():
            own = gradients[tf.distribute.get_replica_context().replica_id_in_sync_group]
            scaled = own * descent.dynamic_scale
            descent.apply_gradients(zip([scaled, scaled[0]], weights, strict=True))

        strategy.run(replica_step)

    return weights, descent, lambda gradients: step(tf.constant(gradients, tf.float32))


def on_replicas(strategy, variable):
    return [part.numpy() for part in strategy.experimental_local_results(variable.value)]


@sides.sides(
    "infinite gradients of another than the first replica reach all weights (keras.optimizers.LossScaleOptimizer)",
    keras.optimizers.LossScaleOptimizer,
    optimizers.LossScaleOptimizer,
)
def test_infinity_on_any_replica_stops_all(side, strategy):
    stops_all(side, strategy, [[1.0, 1.0], [np.inf, 1.0]])


@pytest.mark.parametrize("broken", [[[np.inf, 1], [1, 1]], [[1, 1], [1, np.nan]], [[np.inf, 1], [-np.inf, 1]]])
def test_no_number_on_any_replica_stops_all(broken, strategy):
    stops_all(optimizers.LossScaleOptimizer, strategy, broken)


def stops_all(optimizer, strategy, broken):
    weights, descent, step = with_loss_scale(strategy, optimizer)
    step([[1.0, 2.0], [3.0, 4.0]])
    before = [on_replicas(strategy, variable) for variable in (*weights, *descent.inner_optimizer.variables)]
    np.testing.assert_allclose(before[0][0], [1 - 0.5 * 4, -2 - 0.5 * 6])
    step(broken)
    for variable, values in zip((*weights, *descent.inner_optimizer.variables), before, strict=True):
        np.testing.assert_array_equal(on_replicas(strategy, variable), values)
    assert on_replicas(strategy, descent.dynamic_scale) == [4.0, 4.0]
    assert on_replicas(strategy, descent.step_counter) == [0, 0]
    step([[1.0, 1.0], [1.0, 1.0]])
    for variable in weights:
        np.testing.assert_array_equal(*on_replicas(strategy, variable))
    # Velocity 0.9 * -2 - 0.5 * 2: the scale of the step before does not reach it.
    np.testing.assert_allclose(on_replicas(strategy, weights[0])[0], [-1 - 2.8, -5 - 3.7])


def test_loss_scale_works_without_a_strategy():
    weight = keras.Variable(1.0, name="kernel")
    descent = optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=8.0)
    for gradient, expected in ((16.0, 0.0), (np.inf, 0.0), (4.0, -0.5)):
        descent.apply([tf.constant(gradient)], [weight])
        assert float(weight.numpy()) == expected


def test_scale_doubles_on_all_replicas_after_enough_finite_steps(strategy):
    _, descent, step = with_loss_scale(strategy, optimizers.LossScaleOptimizer)
    for _ in range(3):
        step([[1.0, 1.0], [1.0, 1.0]])
    assert on_replicas(strategy, descent.dynamic_scale) == [16.0, 16.0]
    assert on_replicas(strategy, descent.step_counter) == [0, 0]


def test_float16_alone_has_a_loss_scale():
    scales = {
        precision: isinstance(optimizers.optimizer(recipe(), 0.1, precision), optimizers.LossScaleOptimizer)
        for precision in ("float32", "mixed_bfloat16", "mixed_float16")
    }
    assert scales == {"float32": False, "mixed_bfloat16": False, "mixed_float16": True}


def test_loss_scale_comes_back_from_its_config():
    optimizer = optimizers.optimizer(recipe(optimizer="torch_sgd"), 0.1, "mixed_float16")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, optimizers.LossScaleOptimizer)
    assert again.get_config() == optimizer.get_config()
