"""Testing a network on all images of a split, each counted once, on all replicas of all workers."""

import contextlib
import dataclasses

import numpy as np
import tensorflow as tf

from keras_norms.data import datasets, pipeline, records, shares
from keras_norms.layers import counted_rows
from keras_norms.training import batch_statistics, devices, run_folder, scores, steps

STATISTICS = ("moving", "batch")
SPLITS = ("test", "train")
_BATCHES = {1: pipeline.test_batches, 10: pipeline.ten_crop_batches}
CROPS = tuple(_BATCHES)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a network is tested.

    Attributes:
        crops: Integer, 1 for the centre of an image, 10 for the mean of the probabilities of `views.TenCrops`.
        statistics: String, `"moving"`, or `"batch"`: layers of batch norm's family then normalize with the statistics
            of each batch, over all replicas, of images in the order stored. Dropout is off, moving statistics stay.
        split: String, one of `SPLITS`.
    """

    crops: int = 1
    statistics: str = "moving"
    split: str = "test"

    def __post_init__(self):
        for name, allowed in (("crops", CROPS), ("statistics", STATISTICS), ("split", SPLITS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={getattr(self, name)!r}.")
        if self.crops > 1 and self.statistics == "batch":
            raise ValueError(
                "Batch statistics are those of one view of each image: no published result says which batch ten views "
                f"make. Received: crops={self.crops}, statistics='batch'."
            )

    def words(self, size, batch_size, examples):
        """Returns the protocol in words.

        Args:
            size: Integer, height and width of a view.
            batch_size, examples: Integers, the images of a batch and of the split.
        """
        seen = f"the centre of each image, {size}x{size} pixels"
        if self.crops > 1:
            seen = (
                f"mean of the probabilities of ten views of each image, {size}x{size} pixels: its corners and its "
                "centre, as they are and mirrored"
            )
        if self.statistics == "moving":
            return f"{seen}; inference with moving statistics"
        last = examples % batch_size
        return (
            f"{seen}; statistics of each batch of {batch_size} images{f', the last one of {last}' if last else ''}, "
            "in the order stored; dropout off"
        )


SINGLE_CROP = Protocol()


class Evaluation:
    """The test of a network: the same program and the same batches every time.

    Args:
        computation: `steps.Computation`.
        dataset: `datasets.Dataset`.
        prepare: `pipeline.Preprocessing`.
        batch_size: Integer, over all replicas.
        protocol: `Protocol`.

    Raises:
        ValueError: The network cannot be tested so.
    """

    def __init__(self, computation, dataset, prepare, batch_size, protocol=SINGLE_CROP):
        self._computation, self._protocol = computation, protocol
        self._strategy = strategy = computation.strategy
        self._classes = len(dataset.class_names)
        examples = {"test": dataset.test_examples, "train": dataset.train_examples}[protocol.split]
        filled = shares.Shares(strategy.num_replicas_in_sync).fills(batch_size, examples % batch_size == 0)
        self._rows_matter = filled and protocol.statistics == "batch"
        self._steps = -(-examples // batch_size)
        with self._statistics():
            pass  # refused now rather than after the data have been read

        def of_worker(context):
            own = devices.worker_shares(strategy, context)
            # Endless: the end of a finite stream is looked for by all workers together, before each batch.
            return _BATCHES[protocol.crops](dataset, prepare, batch_size, own, protocol.split).repeat()

        self._batches = strategy.distribute_datasets_from_function(of_worker)
        self._step = steps.test_step(computation, self._sums, self._batches)

    def scores(self):
        """Returns the `scores.Scores` on all images of the split."""
        batches = iter(self._batches)
        with self._statistics():
            sums = sum(self._step(next(batches)) for _ in range(self._steps))
        return scores.of_sums(sums.numpy(), self._classes)

    def means(self):
        """Returns `val_loss` and `val_accuracy`, as the history of a run has them."""
        told = self.scores()
        return {"val_loss": told.log_loss, "val_accuracy": told.top_1}

    def _sums(self, trainable, other, images, labels, weights):
        return scores.sums(self._logits(trainable, other, images, weights > 0), labels, weights)

    def _logits(self, trainable, other, images, rows):
        crops = self._protocol.crops
        if crops > 1:
            images = tf.reshape(images, (-1, *images.shape[2:]))
        with counted_rows.counted(rows) if self._rows_matter else contextlib.nullcontext():
            outputs, _ = self._computation.model.stateless_call(trainable, other, images, training=False)
        logits = tf.cast(outputs["main"] if isinstance(outputs, dict) else outputs, tf.float32)
        return scores.averaged(tf.reshape(logits, (-1, crops, logits.shape[-1]))) if crops > 1 else logits

    def _statistics(self):
        """Returns the context in which the model is traced and called."""
        if self._protocol.statistics == "moving":
            return contextlib.nullcontext()
        synchronized = self._strategy.num_replicas_in_sync > 1
        if synchronized and self._computation.compiled:
            raise ValueError(
                "The statistics of a batch on several replicas are exchanged inside the network, which a program that "
                "XLA compiles for one replica cannot do: use --xla=off or --replicas=1. Received: xla on, "
                f"replicas={self._strategy.num_replicas_in_sync}."
            )
        return batch_statistics.used(self._computation.model, synchronized)


def report(subject, protocol=SINGLE_CROP, batch_size=None):
    """Returns what a subject reaches, and how and with what that was found, as JSON.

    Args:
        subject: `subjects.Subject`.
        protocol: `Protocol`.
        batch_size: Integer, over all replicas; None for one of moderate size. Batch statistics need one.

    Raises:
        ValueError: The subject cannot be tested so, or its data set has bad records.
        RuntimeError: There is not enough memory.
        FloatingPointError: The network computes values that are no numbers.
    """
    dataset, size = subject.dataset, subject.prepare.size
    batch_size = _batch_size(subject, protocol, batch_size)
    try:
        told = Evaluation(subject.computation, dataset, subject.prepare, batch_size, protocol).scores()
    except tf.errors.ResourceExhaustedError as error:
        raise RuntimeError(
            f"{batch_size} images of {protocol.crops} view(s) did not get their memory: give a smaller --batch_size."
        ) from error
    except records.READING_ERRORS:
        datasets.check(dataset)
        raise
    if not np.isfinite(told.log_loss):
        raise FloatingPointError(f"The log-loss is {told.log_loss}: the network computes values that are no numbers.")
    return {
        **{name: value for name, value in dataclasses.asdict(told).items() if value is not None},
        "dataset": dataset.name,
        "split": dataset.test_split if protocol.split == "test" else protocol.split,
        "protocol": protocol.words(size, batch_size, told.examples),
        "crops": protocol.crops,
        "statistics": protocol.statistics,
        "batch_size": batch_size,
        "image_size": size,
        "notes": list(subject.notes),
        "subject": subject.origin,
        "environment": run_folder.environment(list(subject.computation.strategy.extended.worker_devices)),
    }


def lines(report):
    """Returns what a report says as lines of text."""
    what = ", ".join(f"{name} {value}" for name, value in report["subject"].items() if name != "settings")
    top_5 = f"top-5 {report['top_5']:.4f}   " if "top_5" in report else ""
    return [
        f"{what}, on {report['examples']:,} images of {report['dataset']}, split {report['split']}",
        report["protocol"],
        *report["notes"],
        f"top-1 {report['top_1']:.4f}   {top_5}log-loss {report['log_loss']:.4f}",
    ]


def _batch_size(subject, protocol, batch_size):
    if batch_size is None and protocol.statistics == "batch":
        raise ValueError(
            "Batch statistics are decided by `batch_size`: give it. caffenet-benchmark's networks were tested with "
            "batches of 20, 25 and 50. Received: statistics='batch', no batch_size."
        )
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}.")
    return batch_size or max(1, subject.batch_size // protocol.crops)
