"""Training with `keras.Model.fit` and the tf.data code of Keras' users: one image at a time."""

import concurrent.futures
import threading
import time

import keras
import tensorflow as tf
import tensorflow_datasets as tfds

from benchmarks.contest.entrant import Workload
from benchmarks.peers import networks_keras, step_batch, training_turns

# Seconds after which a turn that has not ended is asked whether its thread has failed.
_LOOK = 1
_SHUFFLED = 1000


class Turnstile(keras.callbacks.Callback):
    """Lets a `fit` in another thread make as many steps as are asked for, and nothing in between."""

    def __init__(self):
        super().__init__()
        self._allowed, self._made = threading.Semaphore(0), threading.Semaphore(0)

    def on_train_batch_begin(self, batch, logs=None):
        self._allowed.acquire()

    def on_train_batch_end(self, batch, logs=None):
        self._made.release()

    def advance(self, count, fitting):
        """Returns when so many more steps are made.

        Args:
            count: Integer.
            fitting: `concurrent.futures.Future` of the `fit`. What it raises is raised here.

        Raises:
            RuntimeError: It has ended before.
        """
        self._allowed.release(count)
        for _ in range(count):
            while not self._made.acquire(timeout=_LOOK):
                if fitting.done():
                    fitting.result()
                    raise RuntimeError("The `fit` has ended before all steps were made.")


def make(arch, dataset, batch, data_dir, steps, path):
    """
    Args:
        steps: Integer, how many count in a repeat.
        path: String, the file of what is measured.
    """
    examples, info = tfds.load(dataset, split="train", data_dir=data_dir, as_supervised=True, with_info=True)
    size, classes = info.features["image"].shape[0], info.features["label"].num_classes
    model = networks_keras.stock(arch, "batch_norm_before", size, classes)
    model.compile(
        keras.optimizers.SGD(
            step_batch.LEARNING_RATE, momentum=step_batch.MOMENTUM, weight_decay=step_batch.WEIGHT_DECAY
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    turnstile = Turnstile()
    thread = concurrent.futures.ThreadPoolExecutor()
    fitting = thread.submit(model.fit, batches(examples, size, batch), verbose=0, callbacks=[turnstile])

    def advance(count):
        started = time.perf_counter()
        turnstile.advance(count, fitting)
        return {"images per second": count * batch / (time.perf_counter() - started)}

    return Workload(training_turns.repeat(advance, steps, path))


def batches(examples, size, batch):
    """Returns the endless batches of images that are padded by an eighth, cropped and mirrored at random."""
    margin = size // 8
    standardize = keras.layers.Normalization(mean=[125.3, 123.0, 113.9], variance=[3969.0, 3856.0, 4449.0])

    def augmented(image, label):
        image = tf.image.resize_with_crop_or_pad(image, size + 2 * margin, size + 2 * margin)
        image = tf.image.random_crop(image, (size, size, 3))
        image = tf.image.random_flip_left_right(image)
        return standardize(image), label

    examples = examples.shuffle(_SHUFFLED).repeat().map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return examples.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
