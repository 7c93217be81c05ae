"""What drivers/train.py does, as far as it has not been done: a training, and the export of what it led to."""

import environment

from keras_norms import export, recipes, training
from keras_norms.data import pipeline
from keras_norms.training import run_folder


def result_and_version(settings, place):
    """Trains and exports.

    Args:
        settings: `training.Settings`.
        place: Pair of strings, the folder of the SavedModels and the name of this one; None for no export.

    Returns:
        Dict, the content of `result.json`; path of the SavedModel's version, or None. On several machines the chief
        alone exports.
    """
    result = training.finished(settings)
    version = result and place and export.exported(*place, _origin(settings, result))
    if result and (version or not place):
        return result, version
    if place and training.is_chief():
        export.check_folder(*place)
    run = training.Run(settings)
    if run.is_chief:
        print(recipes.told(settings.recipe), run, environment.onednn(), sep="\n", flush=True)
    outcome = run.train()
    return outcome.result, _version(settings, place, outcome) if place and run.is_chief else None


def _version(settings, place, outcome):
    origin, prepare = _origin(settings, outcome.result), outcome.prepare
    pixels = pipeline.example_pixels(outcome.dataset, prepare)
    return export.exported(*place, origin) or export.export(
        outcome.model, *place, outcome.dataset.class_names, prepare, pixels, origin
    )


def _origin(settings, result):
    return {**run_folder.origin(settings.folder, result), "statistics": "moving"}
