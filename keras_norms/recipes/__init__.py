"""Trainings as frozen data."""

from keras_norms.recipes.baselines import BASELINES
from keras_norms.recipes.recipe import SCHEDULES, Recipe

__all__ = ["BASELINES", "SCHEDULES", "Recipe"]
