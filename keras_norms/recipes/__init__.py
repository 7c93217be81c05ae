"""Trainings as frozen data."""

from keras_norms.recipes.baselines import BASELINES
from keras_norms.recipes.catalogue import PUBLISHED, published, study_name, told
from keras_norms.recipes.published import Published
from keras_norms.recipes.recipe import INITIALIZATIONS, LR_SCALINGS, OPTIMIZERS, SCHEDULES, Recipe
from keras_norms.recipes.studies import STUDIES, Study

__all__ = [
    "BASELINES",
    "INITIALIZATIONS",
    "LR_SCALINGS",
    "OPTIMIZERS",
    "PUBLISHED",
    "SCHEDULES",
    "STUDIES",
    "Published",
    "Recipe",
    "Study",
    "published",
    "study_name",
    "told",
]
