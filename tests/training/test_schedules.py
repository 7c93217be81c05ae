import numpy as np
import pytest

from keras_norms.recipes import SCHEDULES, Recipe
from keras_norms.training import schedules

STEPS = 1000


def rates(recipe, at):
    schedule = schedules.schedule(recipe, STEPS)
    return [float(schedule(step)) for step in at]


def recipe(name):
    return Recipe("resnet20", learning_rate=0.2, schedule=name, drops=(0.4, 0.6))


@pytest.mark.parametrize(
    ("name", "at", "expected"),
    [
        ("constant", [0, 500, 999], [0.2, 0.2, 0.2]),
        ("step", [0, 399, 400, 599, 600, 999], [0.2, 0.2, 0.02, 0.02, 0.002, 0.002]),
        ("linear", [0, 250, 500, 1000], [0.2, 0.15, 0.1, 0.0]),
        ("cosine", [0, 500, 750, 1000], [0.2, 0.1, 0.1 * (1 + np.cos(0.75 * np.pi)), 0.0]),
    ],
)
def test_rate_falls_as_named(name, at, expected):
    np.testing.assert_allclose(rates(recipe(name), at), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_starts_at_the_learning_rate(name):
    assert rates(recipe(name), [0]) == pytest.approx([0.2])
