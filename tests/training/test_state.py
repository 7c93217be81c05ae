import pytest

from keras_norms import models, training
from keras_norms.training import state


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ({}, (2, None, None)),
        ({"margin": 0, "pixel_mean": (1.0, 2, 3), "pixel_deviation": (255.0,) * 3}, (0, (1.0, 2, 3), (255.0,) * 3)),
    ],
)
def test_pixels_are_prepared_as_the_recipe_says(settings, differences, expected):
    run = training.Run(settings(**differences))
    for prepare in (run.prepare, state.preprocessing(run.settings.recipe, run.dataset, 16)):
        margin, mean, deviation = expected
        assert prepare.margin == margin
        assert prepare.mean == (mean or prepare.mean)
        assert prepare.deviation == (deviation or prepare.deviation)


@pytest.mark.parametrize(
    "differences",
    [
        {"normalization": "batch_norm_after", "keeps_bias": True, "activation": "elu", "dropout": 0.3},
        {"use_scale": False, "use_bias": False, "options": (("shortcut", "projection"),)},
    ],
)
def test_the_network_is_that_of_the_recipe(settings, monkeypatch, differences):
    seen, real = {}, models.build
    monkeypatch.setattr(models, "build", lambda arch, **given: seen.update(given, arch=arch) or real(arch, **given))
    made = settings(arch="resnet20", **differences)
    run = training.Run(made)
    for name in ("arch", "normalization", "use_scale", "use_bias", "activation", "dropout", "keeps_bias"):
        assert seen[name] == getattr(made.recipe, name)
    assert seen["options"] == dict(made.recipe.options)
    names = {layer.name for layer in run.model.layers}
    assert ("stage2_unit1_projection" in names) == ("options" in differences)
