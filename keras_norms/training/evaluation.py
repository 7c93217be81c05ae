"""Testing a network on all images of a set, each counted once, on all replicas of all workers."""

from keras_norms.data import pipeline
from keras_norms.training import devices, loop, steps


class Evaluation:
    """The test of a run: the same program and the same batches every time.

    Args:
        computation: `steps.Computation`.
        dataset: `datasets.Dataset`.
        prepare: `pipeline.Preprocessing`.
        batch_size: Integer, over all replicas.
    """

    def __init__(self, computation, dataset, prepare, batch_size):
        strategy = computation.strategy

        def of_worker(context):
            shares = devices.worker_shares(strategy, context)
            # Endless: the end of a finite stream is looked for by all workers together, before each batch.
            return pipeline.test_batches(dataset, prepare, batch_size, shares).repeat()

        self._batches = strategy.distribute_datasets_from_function(of_worker)
        self._steps = -(-dataset.test_examples // batch_size)
        self._step = steps.test_step(computation, self._batches)

    def means(self):
        """Returns `val_loss` and `val_accuracy`, the means over all test images."""
        batches = iter(self._batches)
        return loop.means(sum(self._step(next(batches)) for _ in range(self._steps)), "val_")
