"""Training as `keras_norms.training.Run` does it: pipeline, step and loop of a run, as many steps as are asked for."""

import math

import keras
import tensorflow as tf

from benchmarks.contest.entrant import Workload
from benchmarks.peers import step_batch, training_turns
from keras_norms import recipes, training
from keras_norms.data import pipeline
from keras_norms.training import devices, interruption, loop, speed, steps


class Steps:
    """The steps of a run in its loop, without tests, checkpoints and logs between them.

    Args:
        settings: `training.Settings`.

    Attributes:
        speeds: `speed.Speed` of the steps made last.
    """

    def __init__(self, settings):
        run, recipe = training.Run(settings), settings.recipe
        run.state.restore(run.is_chief)

        def of_worker(context):
            shares = devices.worker_shares(run.strategy, context)
            batches = pipeline.training_batches(
                run.dataset, run.prepare, recipe.batch_size, settings.seed, shares=shares
            )
            return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

        batches = iter(run.strategy.distribute_datasets_from_function(of_worker))
        step = steps.training_step(run.computation, run.state, recipe, batches)
        self.speeds = speed.Speed(recipe.batch_size)
        self._position = run.state.position
        observers = keras.callbacks.CallbackList([], model=run.model)
        self._loop = loop.Loop(step, batches, run.state, self.speeds, observers, lambda: None, math.inf)

    def advance(self, count):
        first = int(self._position.step)
        self.speeds.begin_epoch()
        self._loop.advance(first, first + count, interruption.Request())


def make(arch, dataset, batch, data_dir, steps, folder, path):
    """
    Args:
        steps: Integer, how many count in a repeat.
        folder: String, an empty folder.
        path: String, the file of what is measured.
    """
    recipe = recipes.BASELINES[arch].but(
        dataset=dataset,
        normalization="batch_norm_before",
        batch_size=batch,
        learning_rate=step_batch.LEARNING_RATE,
        momentum=step_batch.MOMENTUM,
        weight_decay=step_batch.WEIGHT_DECAY,
    )
    made = Steps(training.Settings(recipe, data_dir=data_dir, workdir=folder))

    def advance(count):
        made.advance(count)
        return {"images per second": made.speeds.images_per_second, "waiting share": made.speeds.waiting_share}

    return Workload(training_turns.repeat(advance, steps, path))
