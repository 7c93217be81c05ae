"""Every published recipe trains: one step of it, on small images and few of them."""

import math

import pytest

from keras_norms import models, training
from keras_norms.recipes import PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_makes_a_step(name, tmp_path):
    recipe = PUBLISHED[name].recipe
    small = recipe.but(
        dataset="shapes",
        image_size=max(models.ARCHITECTURES[recipe.arch].minimum_size, 8),
        pixel_mean=None,
        pixel_deviation=None,
        batch_size=2 * recipe.micro_batches,
        steps=1,
        # A first step of the published rate may be too long where there is no normalization.
        learning_rate=1e-3 * recipe.learning_rate,
    )
    outcome = training.Run(training.Settings(small, workdir=str(tmp_path / "run"))).train()
    assert outcome.result["steps"] == 1
    assert math.isfinite(outcome.result["train_loss"])
    assert (tmp_path / "run" / "initialization.txt").exists() == (recipe.initialization is not None)
