"""Published recipes as runs: one of each family, from its initialization to a result, on few small images."""

import math

import pytest

from keras_norms import models, training
from keras_norms.recipes import PUBLISHED


@pytest.mark.parametrize(
    "name",
    [
        "caffenet128_bn_before_scale_bias_orthonormal",
        "resnet20_no_relu_bn_after_add",
        "resnet50_weight_norm",
        "alexnet_bn_fc2_2048",
    ],
)
def test_comes_to_a_result(name, tmp_path):
    recipe = PUBLISHED[name].recipe
    small = recipe.but(
        dataset="shapes",
        image_size=max(models.ARCHITECTURES[recipe.arch].minimum_size, 16),
        pixel_mean=None,
        pixel_deviation=None,
        batch_size=2 * recipe.micro_batches,
        steps=1,
    )
    outcome = training.Run(training.Settings(small, workdir=str(tmp_path / "run"))).train()
    assert outcome.result["steps"] == 1
    assert math.isfinite(outcome.result["train_loss"])
    assert (tmp_path / "run" / "initialization.txt").exists() == (recipe.initialization is not None)
