import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_norms.recipes import SCHEDULES, Recipe
from keras_norms.training import optimizers, schedules

STEPS = 1000
NEVER = np.iinfo("int64").max


def rates(recipe, at, **warm_up):
    schedule = schedules.schedule(recipe, STEPS, **warm_up)
    return [float(schedule(step)) for step in at]


def recipe(name, **differences):
    return Recipe("resnet20", learning_rate=0.2, schedule=name, drops=(0.4, 0.6)).but(**differences)


@pytest.mark.parametrize(
    ("name", "at", "expected"),
    [
        ("constant", [0, 500, 999], [0.2, 0.2, 0.2]),
        ("step", [0, 399, 400, 599, 600, 999], [0.2, 0.2, 0.02, 0.02, 0.002, 0.002]),
        ("linear", [0, 250, 500, 999, 1000], [0.2, 0.15, 0.1, 0.0002, 0.0]),
        ("polynomial", [0, 190, 750, 999, 1000], [0.2, 0.2 * 0.9, 0.1, 0.2 * 0.001**0.5, 0.0]),
        ("exponential", [0, 500, 999, 1000], [0.2, 0.2 * 8.2e-4**0.5, 0.2 * 8.2e-4**0.999, 0.2 * 8.2e-4]),
        ("cosine", [0, 500, 750, 1000], [0.2, 0.1, 0.1 * (1 + np.cos(0.75 * np.pi)), 0.0]),
    ],
)
def test_rate_falls_as_named(name, at, expected):
    np.testing.assert_allclose(rates(recipe(name), at), expected, rtol=1e-5, atol=1e-8)


def test_power_and_decay_rate_are_the_recipes():
    at = np.array([0, 300, 999])
    square = rates(recipe("polynomial", power=2.0), at)
    np.testing.assert_allclose(square, 0.2 * (1 - at / STEPS) ** 2, rtol=1e-4)
    # caffenet-benchmark: 0.915 at every 2,000 of 160,000 steps.
    falling = rates(recipe("exponential", decay_rate=0.915**80), at)
    np.testing.assert_allclose(falling, 0.2 * 0.915 ** (at * 160 / 2000), rtol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_starts_at_the_rate_for_the_batch_size(name):
    assert rates(recipe(name), [0]) == pytest.approx([0.2])
    scaled = recipe(name, lr_scaling="linear", batch_size=32, lr_batch_size=64)
    assert rates(scaled, [0]) == pytest.approx([0.1])


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_rises_evenly_to_what_the_schedule_says_after_it(name):
    rising = recipe(name, warmup_steps=99)
    after = rates(recipe(name), range(99, STEPS + 1))
    np.testing.assert_allclose(rates(rising, range(99)), after[0] * np.arange(1, 100) / 100, rtol=1e-5)
    assert rates(rising, range(99, STEPS + 1)) == after


def test_constant_warm_up_lasts_its_steps():
    warm = recipe("linear", warmup_steps=100, warmup_rate=0.01)
    assert rates(warm, [0, 99, 100, 500]) == pytest.approx([0.01, 0.01, 0.18, 0.1])


def test_warm_up_until_an_error_lasts_until_its_variable_says_so():
    end = tf.Variable(NEVER)
    schedule = schedules.schedule(recipe("linear", warmup_rate=0.01, warmup_error=0.8), STEPS, end)
    assert [float(schedule(step)) for step in (0, 999)] == pytest.approx([0.01, 0.01])
    end.assign(400)
    assert [float(schedule(step)) for step in (399, 400, 500)] == pytest.approx([0.01, 0.12, 0.1])


def test_warm_up_until_an_error_needs_its_variable():
    with pytest.raises(ValueError, match="`warm_up_end` must be a variable"):
        schedules.schedule(recipe("linear", warmup_rate=0.01, warmup_error=0.8), STEPS)


@pytest.mark.parametrize(
    ("warm_up", "expected"),
    [
        ({"warmup_steps": 3}, [0.05, 0.1, 0.15, 0.2, 0.2]),
        ({"warmup_steps": 3, "warmup_rate": 0.01}, [0.01, 0.01, 0.01, 0.2, 0.2]),
        ({"warmup_error": 0.8, "warmup_rate": 0.01}, [0.01, 0.01, 0.2, 0.2, 0.2]),
    ],
)
def test_replicas_train_at_the_rate_of_the_step(warm_up, expected, strategy):
    """Gradients of 1 on both replicas, without momentum: each step moves the weight by twice the rate."""
    made = recipe("constant", momentum=0.0, **warm_up)
    with strategy.scope():
        weight = keras.Variable(0.0)
        end = tf.Variable(NEVER, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
        optimizer = optimizers.optimizer(made, schedules.schedule(made, STEPS, end), "float32")
        optimizer.build([weight])

    @tf.function
    def step():
        strategy.run(lambda: optimizer.apply_gradients([(tf.ones(()), weight)]))

    seen = [0.0]
    for number in range(5):
        if number == 2:
            end.assign(number)
        step()
        seen.append(float(-weight.numpy() / 2))
    np.testing.assert_allclose(np.diff(seen), expected, rtol=1e-5)
    assert step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    "warm_up",
    [{"warmup_steps": 99}, {"warmup_steps": 99, "warmup_rate": 0.01}, {"warmup_error": 0.8, "warmup_rate": 0.01}],
)
def test_warm_up_comes_back_from_its_config(warm_up):
    schedule = schedules.schedule(recipe("linear", **warm_up), STEPS, tf.Variable(50, dtype=tf.int64))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    for step in (0, 49, 50, 98, 99, 500):
        assert float(again(step)) == float(schedule(step))
