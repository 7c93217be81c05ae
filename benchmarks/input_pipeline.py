"""Measures how many images a second each stage of the input pipeline makes, alone, and all of them together.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --dataset cifar10 --data_dir ~/tensorflow_datasets --arch resnet20
    python benchmarks/input_pipeline.py --dataset imagenette128 --data_dir ~/tensorflow_datasets --streamed

Medians of repeats in which the stages take turns, so that what else the machine does falls on all of them. With --arch
a training step of that network stands beside them: the pipeline limits no training as long as it makes more. --streamed
reads from files what would be held in memory.
"""

import argparse
import itertools
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

from keras_norms import models
from keras_norms.data import datasets, pipeline, views
from keras_norms.data.in_memory import InMemory
from keras_norms.data.streamed import Streamed


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default=datasets.EMBEDDED)
    parser.add_argument("--data_dir")
    parser.add_argument("--streamed", action="store_true")
    parser.add_argument("--image_size", type=int, help="of what the network takes; else what is stored, or 128")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--arch", choices=list(models.ARCHITECTURES), help="a network to compare a training step of")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each repeat, about")
    return parser.parse_args()


def main():
    options = arguments()
    if options.streamed:
        datasets.HELD_BYTES = 0
    dataset = datasets.load(options.dataset, options.data_dir, options.image_size or 32)
    prepare = pipeline.preprocessing(dataset, options.image_size or dataset.image_shape[0] or 128)
    stages = {
        "loading": loading(dataset, options),
        "order": ordering(dataset, options.batch_size),
        "views": viewing(dataset, prepare, options.batch_size),
        "whole pipeline": drawing(pipeline.training_batches(dataset, prepare, options.batch_size, seed=0)),
    }
    if options.arch:
        stages[f"step of {options.arch}"] = stepping(dataset, prepare, options)
    print(f"{dataset.name}, {type(dataset.train).__name__}, views of {prepare.size}, batches of {options.batch_size}")
    rates = {name: [] for name in stages}
    for _ in range(options.repeats):
        for name, stage in stages.items():
            rates[name].append(rate(stage, options.seconds))
    for name, measured in rates.items():
        print(f"{name:20}{np.median(measured):12,.0f} images/s   ({min(measured):,.0f} to {max(measured):,.0f})")


def rate(stage, seconds):
    """Returns the images a second of a function that returns how many it has made."""
    started, images = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        images += stage()
    return images / (time.perf_counter() - started)


def drawing(batches, together=20):
    """Returns a stage that takes some elements of an endless `tf.data.Dataset`."""
    iterator = iter(batches)
    next(iterator)
    return lambda: sum(tf.nest.flatten(element)[0].shape[0] for element in itertools.islice(iterator, together))


def loading(dataset, options):
    """What is done once before training, drawing or decoding; of a streamed set, decoding without resizing."""
    if isinstance(dataset.train, Streamed):
        return drawing(dataset.train.decoded().ragged_batch(options.batch_size, drop_remainder=True).repeat())

    def load():
        loaded = datasets.load(options.dataset, options.data_dir, options.image_size or 32)
        return loaded.train_examples + loaded.test_examples

    return load


def ordering(dataset, batch_size):
    """The order of an epoch, and the pixels gathered in it; of a streamed set, the undecoded records."""
    batches = dataset.train.shuffled(batch_size, 0, 0, True)
    if isinstance(dataset.train, InMemory):
        batches = batches.map(lambda rows: tf.gather(dataset.train.images, rows), tf.data.AUTOTUNE)
    return drawing(batches.prefetch(tf.data.AUTOTUNE))


def viewing(dataset, prepare, batch_size):
    """Crop, mirror image and normalization of decoded images, as many together as in training."""
    together = batch_size if isinstance(dataset.train, InMemory) else 1
    images = tf.stack([image for image, _ in dataset.train.decoded().take(together)])
    view = views.Random(prepare)
    numbers = tf.data.Dataset.counter()
    chances = numbers.map(lambda number: tf.random.stateless_uniform((together, 3), tf.stack([0, number])))
    return drawing(chances.map(lambda drawn: view(images, drawn), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def stepping(dataset, prepare, options):
    """A training step of a network, forwards, backwards and update, on one batch again and again."""
    shape, classes = (prepare.size, prepare.size, dataset.channels), len(dataset.class_names)
    model = models.build(options.arch, input_shape=shape, classes=classes, normalization="batch_norm_before")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    outputs = model.output if isinstance(model.output, dict) else None
    model.compile("sgd", dict.fromkeys(outputs, loss) if outputs else loss)
    images, labels, _ = next(iter(pipeline.training_batches(dataset, prepare, options.batch_size, seed=0)))
    targets = dict.fromkeys(outputs, labels) if outputs else labels
    model.train_on_batch(images, targets)

    def step():
        model.train_on_batch(images, targets)
        return options.batch_size

    return step


if __name__ == "__main__":
    main()
