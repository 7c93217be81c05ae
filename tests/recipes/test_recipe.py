import dataclasses
import json

import pytest

from keras_norms import models
from keras_norms.recipes import BASELINES, Recipe


def test_every_architecture_has_a_baseline_that_names_it():
    assert {name: baseline.arch for name, baseline in BASELINES.items()} == {
        name: name for name in models.ARCHITECTURES
    }


def test_variant_differs_in_what_it_names_alone():
    baseline = BASELINES["googlenet128"]
    variant = baseline.but(learning_rate=0.5)
    assert variant.learning_rate == 0.5
    assert variant.but(learning_rate=baseline.learning_rate) == baseline


@pytest.mark.parametrize("baseline", BASELINES.values(), ids=BASELINES)
@pytest.mark.parametrize(
    "differences",
    [
        {},
        {"lr_mult": (("bias", 2.0), ("*", 0.5)), "drops": (0.1,)},
        {"steps": 7, "margin": 0, "pixel_mean": (104.0, 117, 124.0), "pixel_deviation": (255.0,)},
        {"name": "of_its_own", "keeps_bias": False, "initialization": "lsuv", "activation": "elu"},
        {"options": (("shortcut", "projection"), ("fc2", 2048), ("normalized_sum", True))},
    ],
)
def test_recipes_are_hashable_and_come_back_from_json(baseline, differences):
    recipe = baseline.but(**differences)
    again = Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe))))
    assert again == recipe
    assert hash(again) == hash(recipe)


def test_lists_become_tuples_at_any_depth():
    recipe = Recipe("alexnet", options=[["fc2", 2048]], pixel_mean=[0.0], pixel_deviation=[255.0])
    assert (recipe.options, recipe.pixel_mean, recipe.pixel_deviation) == ((("fc2", 2048),), (0.0,), (255.0,))


def test_steps_take_the_place_of_epochs():
    recipe = Recipe("resnet20", steps=5)
    assert (recipe.steps, recipe.epochs) == (5, None)
    assert Recipe("resnet20", steps=5, epochs=3) == recipe
    assert recipe.but(steps=None, epochs=3) == Recipe("resnet20", epochs=3)


def test_differences_are_the_entries_of_the_other_recipe():
    baseline = BASELINES["resnet20"]
    differences = {"name": "other", "steps": 7, "options": (("shortcut", "projection"),), "margin": 0}
    assert baseline.differences(baseline.but(**differences)) == {**differences, "epochs": None}
    assert baseline.but(**differences).differences(baseline) == {
        "name": "", "steps": None, "options": (), "margin": None, "epochs": 10,
    }  # fmt: skip
    assert baseline.differences(dataclasses.replace(baseline)) == {}
    assert baseline.but(**baseline.differences(BASELINES["alexnet"])) == BASELINES["alexnet"]


def test_every_entry_is_documented():
    for field in dataclasses.fields(Recipe):
        assert field.name in Recipe.__doc__.split("Attributes:")[1]


@pytest.mark.parametrize(
    ("misspelled", "nearest"),
    [("learning_rat", "learning_rate"), ("lr_mul", "lr_mult"), ("wight_decay", "weight_decay"), ("warmup", "warmup_")],
)
def test_unknown_entries_are_refused_with_the_nearest_name(misspelled, nearest):
    with pytest.raises(TypeError, match=f"no entry `{misspelled}`; the nearest is `{nearest}.*{misspelled}=1.0"):
        BASELINES["resnet20"].but(**{misspelled: 1.0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("steps", 0),
        ("batch_size", 0),
        ("image_size", 0),
        ("micro_batches", 0),
        ("micro_batches", 65),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("lr_scaling", "squared"),
        ("lr_batch_size", 0),
        ("schedule", "quadratic"),
        ("drops", (0.75, 0.5)),
        ("drops", (0.5, 1.0)),
        ("power", 0.0),
        ("decay_rate", 0.0),
        ("decay_rate", 1.1),
        ("warmup_steps", -1),
        ("optimizer", "adam"),
        ("momentum", 1.0),
        ("lr_mult", (("bias", -1.0),)),
        ("lr_mult", (("bias", 1.0), ("bias", 2.0))),
        ("lr_mult", (("bias", float("nan")),)),
        ("lr_mult", ("bias", 2.0)),
        ("lr_mult", (("bias", 2.0, 3.0),)),
        ("lr_mult", (("bias", "2"),)),
        ("lr_mult", "bias:2"),
        ("weight_decay", -1e-4),
        ("decay_mult", ((1.0, "kernel"),)),
        ("lr_mult", (("bias", float("inf")),)),
        ("initialization", "lsuv2"),
        ("margin", -1),
        ("margin", float("inf")),
        ("pixel_mean", ()),
        ("pixel_mean", 104.0),
        ("pixel_mean", "104"),
        ("pixel_mean", ("104", "117", "124")),
        ("pixel_mean", (104.0, float("nan"))),
        ("pixel_mean", ((104.0, 117.0),)),
        ("pixel_deviation", ()),
        ("pixel_deviation", (1.0, 0.0)),
        ("pixel_deviation", (-1.0,)),
        ("pixel_deviation", (float("inf"),)),
        ("options", "shortcut"),
        ("options", {"shortcut": "projection"}),
        ("options", ("shortcut", "projection")),
        ("options", (("shortcut",),)),
        ("options", (("shortcut", "projection", 1),)),
        ("options", ((1, "shortcut"),)),
        ("options", (("shortcut", None),)),
        ("options", (("shortcut", ("projection",)),)),
        ("options", (("shortcut", "projection"), ("shortcut", "identity"))),
        ("weight_average", 1.0),
        ("weight_average", -0.1),
    ],
)
def test_impossible_entries_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must .* Received: {name}="):
        Recipe("resnet20", **{name: value})


@pytest.mark.parametrize(("name", "value"), [("warmup_rate", 0.0), ("warmup_error", 0.0), ("warmup_error", 1.5)])
def test_impossible_warm_ups_are_refused_by_name(name, value):
    possible = {"warmup_rate": 0.01, "warmup_error": 0.8}
    Recipe("resnet110", **possible)
    with pytest.raises(ValueError, match=f"`{name}` must .* Received: {name}="):
        Recipe("resnet110", **{**possible, name: value})


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ({"lr_scaling": "linear"}, ("lr_scaling", "lr_batch_size")),
        ({"warmup_error": 0.8}, ("warmup_error", "warmup_rate")),
        ({"warmup_error": 0.8, "warmup_rate": 0.01, "warmup_steps": 9}, ("warmup_error", "warmup_steps")),
        ({"warmup_rate": 0.01}, ("warmup_rate", "warmup_steps")),
        ({"nesterov": True, "momentum": 0.0}, ("nesterov", "momentum")),
        ({"epochs": None}, ("epochs", "steps")),
    ],
)
def test_contradictions_are_refused_and_named(entries, names):
    with pytest.raises(ValueError, match="`.*`.*".join(names) + ".*Received: ") as refusal:
        Recipe("resnet20", **entries)
    assert all(f"{name}=" in str(refusal.value) for name in names)


@pytest.mark.parametrize(("rule", "rate"), [("none", 0.1), ("linear", 0.4), ("sqrt", 0.2)])
def test_peak_rate_follows_the_batch_size(rule, rate):
    recipe = Recipe("resnet20", learning_rate=0.1, batch_size=512, lr_batch_size=128, lr_scaling=rule)
    assert recipe.peak_learning_rate == pytest.approx(rate)
    assert recipe.but(batch_size=128).peak_learning_rate == pytest.approx(0.1)
