"""A training step on TensorFlow: as `keras_norms` trains, and as `keras.Model.fit` does with stock layers."""

import tempfile
import types

import keras
import numpy as np
import tensorflow as tf

from benchmarks.contest.entrant import Workload
from benchmarks.peers import networks_keras, step_batch
from keras_norms import models, recipes
from keras_norms.training import devices, settings, state, steps


def make_keras_norms(arch, normalization, batch, size, classes, dtype="float32"):
    """The step of `drivers/train.py`, with the weight decay of the network's recipe."""
    recipe = recipes.BASELINES[arch].but(
        normalization=normalization, batch_size=batch, learning_rate=step_batch.LEARNING_RATE
    )
    dataset = types.SimpleNamespace(channels=3, class_names=tuple(map(str, range(classes))))
    strategy = devices.strategy()
    with tempfile.TemporaryDirectory() as folder:
        trained = state.State(settings.Settings(recipe, precision=dtype, workdir=folder), dataset, size, 1000, strategy)
    compiled = devices.compiled("auto")
    computation = steps.Computation(trained.model, strategy, models.ARCHITECTURES[arch].loss_weights, compiled)
    weights = np.full(batch, 1 / batch, "float32")
    batches = tf.data.Dataset.from_tensors((*step_batch.fixed(batch, size, classes), weights)).repeat()
    batches = iter(strategy.distribute_datasets_from_function(lambda _: batches))
    step = steps.training_step(computation, trained, recipe, batches)

    def repeat():
        step_batch.check(step(next(batches), 0.0).sums.numpy()[0])

    return Workload(repeat)


def make_keras(arch, normalization, batch, size, classes, dtype="float32"):
    """The function that `fit` calls for each batch."""
    keras.config.set_dtype_policy(dtype)
    model = networks_keras.stock(arch, normalization, size, classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(
        step_batch.LEARNING_RATE, momentum=step_batch.MOMENTUM, weight_decay=step_batch.WEIGHT_DECAY
    )
    images, labels = step_batch.fixed(batch, size, classes)
    if isinstance(model.output, dict):
        labels = dict.fromkeys(model.output, labels)
        loss = dict.fromkeys(model.output, loss)
        model.compile(optimizer, loss, loss_weights=step_batch.LOSS_WEIGHTS, jit_compile=False)
    else:
        model.compile(optimizer, loss, jit_compile=False)
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())
    model.make_train_function()

    def repeat():
        step_batch.check(float(model.train_function(batches)["loss"]))

    return Workload(repeat)
