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


def test_recipes_are_hashable_and_json():
    for baseline in BASELINES.values():
        hash(baseline)
        entries = json.loads(json.dumps(dataclasses.asdict(baseline)))
        assert Recipe(**{**entries, "drops": tuple(entries["drops"])}) == baseline


def test_unknown_entries_are_refused():
    with pytest.raises(TypeError, match="learning_rat"):
        BASELINES["resnet20"].but(learning_rat=1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("steps", 0),
        ("batch_size", 0),
        ("image_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("schedule", "exponential"),
        ("drops", (0.75, 0.5)),
        ("drops", (0.5, 1.0)),
    ],
)
def test_impossible_entries_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must .* Received: {name}="):
        Recipe("resnet20", **{name: value})
