"""Epochs: how many steps one has, the order of its examples, and one after the other from any step on.

All is a function of the seed and the epoch's number.
"""

import tensorflow as tf


def steps(examples, batch_size, drop_remainder=True):
    """Returns how many batches an epoch has.

    Raises:
        ValueError: Not one.
    """
    count = examples // batch_size if drop_remainder else -(-examples // batch_size)
    if count < 1:
        raise ValueError(
            f"`batch_size` must be at most the number of training images, {examples}. "
            f"Received: batch_size={batch_size}."
        )
    return count


def random_bits(shape, seed, epoch):
    """Returns random int64 of an epoch. No step draws from the same seed: those of epochs are below zero."""
    seed = tf.stack([tf.cast(seed, tf.int64), -1 - tf.cast(epoch, tf.int64)])
    return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int64)


def endless(epoch_of, first_step, steps_per_epoch):
    """Returns the batches of all epochs, one after the other, from a step on.

    Args:
        epoch_of: Function of two int64 scalars, an epoch and a step of it. It returns a `tf.data.Dataset` of the
            batches of that epoch, from that step on.
        first_step: Integer, how many batches have been used already.
        steps_per_epoch: Integer.
    """
    first_epoch, used = divmod(first_step, steps_per_epoch)
    epochs = tf.data.Dataset.counter(start=first_epoch)
    return epochs.flat_map(
        lambda epoch: epoch_of(epoch, tf.where(epoch == first_epoch, tf.constant(used, tf.int64), 0))
    )
