"""How well logits name the classes of images: the first guess, the first five, and the log-loss."""

import dataclasses
import math

import tensorflow as tf

_FIRST = 5


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a classifier reaches on a set.

    Attributes:
        examples: Integer, how many images were counted.
        top_1: Float, the part of them whose class has the largest logit. Of equal logits the first one is the largest.
        top_5: Float, the part whose class is among the five largest; None where there are no more than five.
        log_loss: Float, the mean of minus the logarithm of the probability of an image's class.
    """

    examples: int
    top_1: float
    top_5: float | None
    log_loss: float


def of_sums(sums, classes):
    """Returns the `Scores` of sums over a whole set, as `sums` has them.

    Args:
        sums: Array of shape `(4,)`.
        classes: Integer.
    """
    loss, first, first_five, examples = (float(value) for value in sums)
    top_5 = first_five / examples if classes > _FIRST else None
    return Scores(int(examples), first / examples, top_5, loss / examples)


def sums(logits, labels, weights):
    """Returns the sums of loss, of classes guessed first, of those among the first five, and of weights.

    Args:
        logits: Float32 tensor of shape `(rows, classes)`.
        labels: Int64 tensor of shape `(rows,)`.
        weights: Float32 tensor of shape `(rows,)`, 1 or 0. Rows of weight 0 do not count, whatever their logits are.

    Returns:
        Float32 tensor of shape `(4,)`.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    place = _places(logits, labels)
    guessed = [tf.cast(place < count, tf.float32) for count in (1, _FIRST)]
    # Not a product: the loss of a row that does not count may be infinite.
    return tf.stack([tf.reduce_sum(tf.where(weights > 0, value, 0.0)) for value in (losses, *guessed, weights)])


def averaged(logits):
    """Returns logits of the mean of the probabilities of several views.

    Args:
        logits: Float32 tensor of shape `(rows, views, classes)`.

    Returns:
        Float32 tensor of shape `(rows, classes)`, the logarithms of the means.
    """
    return tf.reduce_logsumexp(tf.nn.log_softmax(logits), axis=1) - math.log(logits.shape[1])


def _places(logits, labels):
    """Returns how many classes come before the one of the label. What is no number comes before everything."""
    own = tf.gather(logits, labels, axis=1, batch_dims=1)[:, None]
    later = tf.range(logits.shape[1], dtype=labels.dtype) >= labels[:, None]
    behind = (logits < own) | ((logits == own) & later)
    return tf.reduce_sum(tf.cast(~behind, tf.int32), axis=1)
