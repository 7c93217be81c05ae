"""Trainings as frozen data."""

from keras_norms.recipes.baselines import BASELINES
from keras_norms.recipes.recipe import LR_SCALINGS, OPTIMIZERS, SCHEDULES, Recipe

__all__ = ["BASELINES", "LR_SCALINGS", "OPTIMIZERS", "SCHEDULES", "Recipe"]
