import contextlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_norms.layers import BatchNorm, WeightNormalization, lending
from tests import autodiff
from tests.reference import weight_normalization as definition

L = keras.layers

TENSORFLOW = keras.backend.backend() == "tensorflow"
XLA = [False, pytest.param(True, marks=pytest.mark.skipif(not TENSORFLOW, reason="XLA of TensorFlow"))]
BOTH = ["depthwise_kernel", "pointwise_kernel"]
LSTM = ["cell.kernel", "cell.recurrent_kernel"]

# Layer, its weights, shape of an input, kept axes of each weight.
LAYERS = [
    (lambda: L.Dense(3), "kernel", (5, 4), [(-1,)]),
    (lambda: L.Conv1D(3, 2, padding="causal"), "kernel", (2, 5, 4), [(-1,)]),
    (lambda: L.Conv2D(5, 3, strides=2, padding="same"), "kernel", (2, 7, 5, 4), [(-1,)]),
    (lambda: L.Conv2D(5, 2, dilation_rate=2), "kernel", (2, 7, 5, 4), [(-1,)]),
    (lambda: L.Conv3D(3, 2), "kernel", (2, 3, 4, 3, 2), [(-1,)]),
    (lambda: L.Conv2DTranspose(3, 3, strides=2), "kernel", (2, 4, 3, 5), [(-2,)]),
    (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), "kernel", (2, 5, 4, 3), [(-2, -1)]),
    (lambda: L.SeparableConv2D(4, 3, depth_multiplier=2), BOTH, (2, 5, 4, 3), [(-2, -1), (-1,)]),
    (lambda: L.EinsumDense("abc,cde->abde", (3, 2, 3)), "kernel", (2, 3, 4), [(1, 2)]),
    (lambda: L.LSTM(3), LSTM, (2, 5, 4), [(-1,), (-1,)]),
    (lambda: L.TimeDistributed(L.Dense(3)), "layer.kernel", (2, 5, 4), [(-1,)]),
]
layers = pytest.mark.parametrize(("make", "weight", "shape", "kept"), LAYERS)


def example(shape, seed=0):
    return np.random.default_rng(seed).normal(0.5, 2, shape).astype("float32")


def moved(wrapped, seed=3):
    """Moves every variable off its initial value, the scales to both signs."""
    rng = np.random.default_rng(seed)
    for variable in wrapped.weights:
        variable.assign(rng.normal(0, 1.5, variable.shape))
    return wrapped


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def wrap(make, weight, shape, **options):
    wrapped = WeightNormalization(make(), weight=weight, **options)
    wrapped.build(shape)
    return wrapped


def with_definition(wrapped, kept):
    """Returns a plain layer that holds the weights of the definition."""
    plain = type(wrapped.layer).from_config(wrapped.layer.get_config())
    plain.build(wrapped.input_shape_of_test)
    plain.set_weights(wrapped.layer.get_weights())
    for name, axes in zip(wrapped.names, kept, strict=True):
        scale = array(wrapped.scales[name]) if wrapped.use_scale else None
        owner, _, attribute = name.rpartition(".")
        target = plain
        for part in filter(None, owner.split(".")):
            target = getattr(target, part)
        getattr(target, attribute).assign(definition.normalized(array(wrapped.variable(name)), scale, axes))
    return plain


@layers
def test_wrapping_changes_nothing(make, weight, shape, kept):
    x, layer = example(shape), make()
    expected = array(layer(x))
    wrapped = WeightNormalization(layer, weight=weight)
    np.testing.assert_allclose(array(wrapped(x)), expected, rtol=1e-6, atol=1e-6)


@layers
@pytest.mark.parametrize("use_scale", [True, False])
def test_output_is_that_of_a_plain_layer_with_normalized_weights(make, weight, shape, kept, use_scale):
    x = example(shape)
    wrapped = moved(wrap(make, weight, shape, use_scale=use_scale))
    wrapped.input_shape_of_test = shape
    # Sums of some dozens of products, in float32.
    np.testing.assert_allclose(array(wrapped(x)), array(with_definition(wrapped, kept)(x)), rtol=1e-4, atol=1e-4)


@layers
def test_no_call_writes_a_variable(make, weight, shape, kept):
    wrapped = moved(wrap(make, weight, shape))
    before = wrapped.get_weights()
    for training in (False, True):
        wrapped(example(shape), training=training)
    for ours, theirs in zip(wrapped.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@layers
def test_gradients_reach_scale_and_direction(make, weight, shape, kept):
    """The chain rule of the definition, applied to the gradient of a plain layer."""
    x = example(shape)
    wrapped = moved(wrap(make, weight, shape))
    wrapped.input_shape_of_test = shape
    plain = with_definition(wrapped, kept)
    upstream = example(wrapped.compute_output_shape(shape), seed=8)

    def loss_of(layer):
        variables = layer.trainable_variables

        def loss(*values):
            outputs, _ = lending.call_with(layer, list(zip(variables, values, strict=True)), x)
            return ops.sum(ops.convert_to_tensor(upstream) * outputs)

        gradients = autodiff.gradient(loss, *(ops.convert_to_numpy(v) for v in variables))
        return {id(v): g for v, g in zip(variables, gradients, strict=True)}

    ours, theirs = loss_of(wrapped), loss_of(plain)
    plain_by_place = dict(zip(map(id, wrapped.layer.variables), plain.variables, strict=True))
    for name, axes in zip(wrapped.names, kept, strict=True):
        v, scale = wrapped.variable(name), wrapped.scales[name]
        dv, dscale = definition.gradients(array(v), array(scale), theirs[id(plain_by_place[id(v)])], axes)
        np.testing.assert_allclose(ours[id(v)], dv, rtol=1e-3, atol=1e-4 * np.abs(dv).max())
        np.testing.assert_allclose(ours[id(scale)], dscale, rtol=1e-3, atol=1e-4 * np.abs(dscale).max())


def test_embedding_keeps_its_rows():
    wrapped = moved(wrap(lambda: L.Embedding(7, 3), "embeddings", (2, 5)))
    tokens = np.random.default_rng(0).integers(0, 7, (2, 5))
    rows = definition.normalized(array(wrapped.layer.embeddings), array(wrapped.scales["embeddings"]), (0,))
    np.testing.assert_allclose(array(wrapped(tokens)), rows[tokens], rtol=1e-5)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (5,)), (0, (4,)), ([0, 1], (4, 5)), ([], ())])
def test_axis_can_be_given(axis, shape):
    wrapped = moved(wrap(lambda: L.Dense(5), "kernel", (2, 4), axis=axis))
    assert tuple(wrapped.scales["kernel"].shape) == shape
    kept = axis if isinstance(axis, list) else [axis]
    expected = definition.normalized(array(wrapped.layer.kernel), array(wrapped.scales["kernel"]), kept)
    np.testing.assert_allclose(array(wrapped.effective_weights()["kernel"]), expected, rtol=1e-5)


def test_strict_and_affine_forms():
    strict = moved(wrap(lambda: L.Dense(3, use_bias=False), "kernel", (2, 4), use_scale=False))
    assert [v.name for v in strict.weights] == ["kernel"]
    np.testing.assert_allclose(np.linalg.norm(array(strict.effective_weights()["kernel"]), axis=0), 1, rtol=1e-6)
    affine = wrap(lambda: L.Dense(3), "kernel", (2, 4), scale_initializer="ones")
    np.testing.assert_array_equal(array(affine.scales["kernel"]), 1)
    np.testing.assert_allclose(np.linalg.norm(array(affine.effective_weights()["kernel"]), axis=0), 1, rtol=1e-6)


def test_scale_of_zero_starts_a_branch_that_learns():
    model = keras.Sequential([keras.Input((4,)), WeightNormalization(L.Dense(3), scale_initializer="zeros")])
    x = example((8, 4))
    np.testing.assert_array_equal(array(model(x)), 0)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.fit(x, example((8, 3), 2), epochs=1, verbose=0)
    assert (array(model.layers[0].scales["kernel"]) != 0).all()


@pytest.mark.parametrize("jit_compile", XLA)
def test_plain_gradient_descent_lengthens_the_direction(jit_compile):
    """||v|| grows by the squared gradient at each step: Pythagoras, since the gradient is orthogonal to v."""
    model = keras.Sequential([keras.Input((4,)), WeightNormalization(L.Dense(3))])
    moved(model.layers[0])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
    v = array(model.layers[0].layer.kernel).astype("float64")
    model.fit(example((8, 4)), example((8, 3), 2), batch_size=8, epochs=1, verbose=0)
    after = array(model.layers[0].layer.kernel).astype("float64")
    assert (after != v).all()
    np.testing.assert_allclose((after**2).sum(0), (v**2).sum(0) + ((after - v) ** 2).sum(0), rtol=1e-6)


def test_mixed_precision_normalizes_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    wrapped = moved(wrap(lambda: L.Dense(3, use_bias=False), "kernel", (2, 4)))
    x = example((2, 4))
    expected = definition.normalized(array(wrapped.layer.kernel), array(wrapped.scales["kernel"]))
    rounded = ops.cast(ops.cast(expected, "bfloat16"), "float32")
    # The weight is rounded once, at the end: from a direction rounded first, a third of them would differ.
    half = ops.cast(wrapped.effective_weights()["kernel"], "bfloat16")
    np.testing.assert_array_equal(array(half), array(rounded))
    assert keras.backend.standardize_dtype(wrapped(x).dtype) == "bfloat16"
    np.testing.assert_allclose(array(wrapped(x)), x @ expected, rtol=0.03, atol=0.05)
    inside = keras.Sequential([keras.Input((4,)), wrapped])
    np.testing.assert_array_equal(array(inside(x)), array(wrapped(x)))


def test_nested_wrappers():
    shape = (2, 5, 4, 3)
    inner = WeightNormalization(L.SeparableConv2D(4, 3), weight="depthwise_kernel")
    nested = wrap(lambda: inner, "pointwise_kernel", shape)
    both = wrap(lambda: L.SeparableConv2D(4, 3), BOTH, shape)
    moved(nested)
    both.layer.set_weights(inner.layer.get_weights())
    both.scales["depthwise_kernel"].assign(inner.scales["depthwise_kernel"].value)
    both.scales["pointwise_kernel"].assign(nested.scales["pointwise_kernel"].value)
    x = example(shape)
    np.testing.assert_allclose(array(nested(x)), array(both(x)), rtol=1e-5, atol=1e-5)


def test_inside_other_wrappers():
    x = example((2, 5, 4))
    inside = L.TimeDistributed(WeightNormalization(L.Dense(3)))
    inside(x)
    moved(inside)
    np.testing.assert_allclose(array(inside(x)), array(inside.layer(x)), rtol=1e-5)
    assert tuple(L.Bidirectional(L.RNN(WeightNormalization(L.GRUCell(3))))(x).shape) == (2, 6)


def test_recurrent_cell_equals_the_recurrent_layer():
    x, names = example((2, 5, 4)), ["kernel", "recurrent_kernel"]
    cell = L.RNN(WeightNormalization(L.LSTMCell(3), weight=names), return_sequences=True)
    layer = WeightNormalization(L.LSTM(3, return_sequences=True), weight=LSTM)
    cell(x), layer(x)
    moved(cell)
    layer.set_weights(cell.get_weights())
    np.testing.assert_allclose(array(layer(x)), array(cell(x)), rtol=1e-5, atol=1e-6)


def test_weights_in_lists():
    x = example((2, 5, 4))
    stacked = L.RNN(L.StackedRNNCells([L.GRUCell(3), L.GRUCell(2)]))
    expected = array(stacked(x))
    wrapped = WeightNormalization(stacked, weight=["cell.cells.0.kernel", "cell.cells.1.recurrent_kernel"])
    np.testing.assert_allclose(array(wrapped(x)), expected, rtol=1e-5, atol=1e-6)
    assert [tuple(scale.shape) for scale in wrapped.scales.values()] == [(9,), (6,)]


def test_several_inputs():
    query, value = example((2, 3, 4)), example((2, 5, 4), 1)
    attention = L.MultiHeadAttention(2, 3)
    expected = array(attention(query, value))
    wrapped = WeightNormalization(attention, weight=["query_dense.kernel", "output_dense.kernel"])
    np.testing.assert_allclose(array(wrapped(query, value)), expected, rtol=1e-5, atol=1e-6)


def test_quantized_weights_are_refused():
    model = keras.Sequential([keras.Input((4,)), WeightNormalization(L.Dense(3))])
    model.quantize("int8")
    with pytest.raises(ValueError, match="quantized"):
        model(example((2, 4)))


def test_masks_pass_through():
    tokens = np.array([[3, 1, 0, 0], [2, 2, 5, 0]])
    embedding = WeightNormalization(L.Embedding(7, 3, mask_zero=True), weight="embeddings")
    lstm = WeightNormalization(L.LSTM(2), weight=LSTM)
    model = keras.Sequential([keras.Input((4,), dtype="int32"), embedding, lstm])
    expected = array(lstm(embedding(tokens[:1, :2])))
    np.testing.assert_allclose(array(model(tokens))[:1], expected, rtol=1e-5, atol=1e-6)


def test_masks_end_where_the_wrapped_layer_ends_them():
    layer = L.Conv1D(3, 2)
    layer.supports_masking = False
    embedded = L.Embedding(7, 4, mask_zero=True)(np.array([[3, 1, 0, 0]]))
    with pytest.warns(UserWarning, match="does not support masking"):
        assert getattr(WeightNormalization(layer)(embedded), "_keras_mask", None) is None


def test_a_shared_wrapper_gathers_the_gradients_of_both_uses():
    shared = WeightNormalization(L.Dense(4))
    a, b = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([a, b], shared(shared(a)) + shared(b))
    moved(shared)
    x, y = example((3, 4)), example((3, 4), 1)
    w = definition.normalized(array(shared.layer.kernel), array(shared.scales["kernel"]))
    bias = array(shared.layer.bias)
    np.testing.assert_allclose(array(model([x, y])), (x @ w + bias) @ w + bias + y @ w + bias, rtol=1e-4, atol=1e-4)
    assert len(model.trainable_weights) == 3


def test_dropout_inside_draws_anew_at_each_call():
    wrapped = WeightNormalization(L.LSTM(3, dropout=0.5, seed=1), weight=LSTM)
    x = example((2, 5, 4))
    assert (array(wrapped(x, training=True)) != array(wrapped(x, training=True))).any()
    np.testing.assert_array_equal(array(wrapped(x, training=False)), array(wrapped(x, training=False)))


def test_stateful_layers_keep_their_state():
    wrapped, plain = WeightNormalization(L.GRU(3, stateful=True), weight="cell.kernel"), L.GRU(3, stateful=True)
    x = example((2, 5, 4))
    wrapped(x), plain(x)
    plain.set_weights(wrapped.layer.get_weights())
    plain.reset_state(), wrapped.layer.reset_state()
    for _ in range(2):  # the second from where the first ended
        np.testing.assert_allclose(array(wrapped(x)), array(plain(x)), rtol=1e-5, atol=1e-6)
    assert (array(wrapped.layer.states[0]) != 0).all()


def test_losses_of_a_stateless_call_are_counted_once():
    wrapped = WeightNormalization(L.Dense(3, activity_regularizer=keras.regularizers.L2(0.1)))
    x = example((2, 4))
    y = array(wrapped(x))
    values = [[v.value for v in vs] for vs in (wrapped.trainable_variables, wrapped.non_trainable_variables)]
    _, _, losses = wrapped.stateless_call(*values, x, return_losses=True)
    np.testing.assert_allclose([float(loss) for loss in losses], [0.1 * (y**2).sum() / 2], rtol=1e-5)


def test_losses_of_the_wrapped_layer_are_counted():
    layer = L.Dense(3, activity_regularizer=keras.regularizers.L2(0.1), kernel_regularizer=keras.regularizers.L2(0.5))
    wrapped = WeightNormalization(layer, scale_regularizer=keras.regularizers.L2(0.25))
    x = example((2, 4))
    y = array(wrapped(x))
    moved(wrapped)
    expected = [
        0.1 * (y**2).sum() / 2,
        0.5 * (array(layer.kernel) ** 2).sum(),
        0.25 * (array(wrapped.scales["kernel"]) ** 2).sum(),
    ]
    np.testing.assert_allclose(sorted(map(float, wrapped.losses)), sorted(expected), rtol=1e-5)


def test_constraint_of_the_scale_holds():
    model = keras.Sequential([keras.Input((4,)), WeightNormalization(L.Dense(3), scale_constraint="non_neg")])
    model.layers[0].scales["kernel"].assign([1e-6, 1e-6, 1e-6])
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=False)
    model.fit(example((8, 4)), example((8, 3), 2) * 9, epochs=2, verbose=0)
    assert (array(model.layers[0].scales["kernel"]) >= 0).all()


def test_frozen_wrapper_freezes_all():
    wrapped = wrap(lambda: L.Dense(3), "kernel", (2, 4))
    wrapped.trainable = False
    assert wrapped.trainable_weights == []
    assert len(wrapped.non_trainable_weights) == 3


@pytest.mark.skipif(not TENSORFLOW, reason="replicas are those of TensorFlow")
def test_two_replicas_train_as_one(strategy):
    def trained(scope):
        keras.utils.set_random_seed(0)
        with scope:
            convolution = WeightNormalization(L.Conv2D(4, 3))
            model = keras.Sequential(
                [keras.Input((6, 6, 2)), convolution, L.Flatten(), WeightNormalization(L.Dense(2), use_scale=False)]
            )
            model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile=False)
        model.fit(example((8, 6, 6, 2)), example((8, 2), 1), batch_size=8, epochs=4, verbose=0)
        return model.get_weights()

    for two, one in zip(trained(strategy.scope()), trained(contextlib.nullcontext()), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


def test_normalized_and_batch_normalized():
    """Batch norm makes the scale irrelevant (the gradient of a scale in front of it is zero)."""
    inputs = keras.Input((4,))
    wrapped = WeightNormalization(L.Dense(3, use_bias=False))
    model = keras.Model(inputs, BatchNorm(epsilon=1e-12)(wrapped(inputs)))
    x = example((16, 4))
    before = array(model(x, training=True))
    wrapped.scales["kernel"].assign(5 * wrapped.scales["kernel"].value)
    np.testing.assert_allclose(array(model(x, training=True)), before, rtol=1e-4, atol=1e-5)


def test_call_form_of_tensorflow_addons():
    assert WeightNormalization(L.Dense(3), data_init=False).name
    with pytest.raises(ValueError, match=r"initializers\.weight_norm"):
        WeightNormalization(L.Dense(3), data_init=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "dense"}, "Keras layer|layer type"),
        ({"weight": "kernels"}, "has .*/kernel', .*/bias'.*weight='kernels'"),
        ({"weight": "activation"}, "must name variables"),
        ({"weight": "kernel.value"}, "must name variables"),
        ({"weight": "kernel.5"}, "must name variables"),
        ({"weight": ["kernel", "kernel"]}, "each variable once"),
        ({"weight": ["kernel", "_kernel"]}, "each variable once"),
        ({"layer": L.MultiHeadAttention(2, 3), "weight": "query_dense.kernel"}, "several inputs must be built"),
        ({"weight": []}, "name of a weight"),
        ({"weight": 3}, "name of a weight"),
        ({"axis": 2}, "axis=2"),
        ({"axis": "last"}, "axis"),
        ({"use_scale": "no"}, "use_scale='no'"),
        ({"use_scale": False, "scale_initializer": "ones"}, "need `use_scale=True`"),
        ({"epsilon": 0}, "epsilon=0"),
        ({"dtype": "float16"}, "wrapped layer"),
        ({"layer": L.LSTMCell(3, recurrent_dropout=0.5)}, "cell with dropout"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    arguments = {"layer": L.Dense(3), **arguments}
    with pytest.raises(ValueError, match=message):
        WeightNormalization(**arguments).build((2, 4))
