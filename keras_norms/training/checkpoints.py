"""The state of a run on disk: weights, statistics, optimizer, random states, and the position in the data."""

import tensorflow as tf

_KEPT = 2


class Position(tf.Module):
    """Where a run is: the steps made, the epochs ended, and the sums of the epoch so far."""

    def __init__(self):
        super().__init__()
        self.step = tf.Variable(0, dtype=tf.int64, name="step")
        self.epoch = tf.Variable(0, dtype=tf.int64, name="epoch")
        self.sums = tf.Variable(tf.zeros(3), name="sums")

    @tf.function
    def end_epoch(self):
        """Moves on to the next epoch, in one call: it cannot be interrupted half-way."""
        self.epoch.assign_add(1)
        self.sums.assign(tf.zeros(3))


class Checkpoints:
    """Saves and restores a run.

    Args:
        folder: Path.
        model: Built Keras model.
        optimizer: Built Keras optimizer.
        position: `Position`.
    """

    def __init__(self, folder, model, optimizer, position):
        # Lists of variables, not the objects: a Keras model does not track the states of its random generators.
        state = tf.train.Checkpoint(
            model=[variable.value for variable in model.variables],
            optimizer=[variable.value for variable in optimizer.variables],
            position=position,
        )
        self._manager = tf.train.CheckpointManager(state, str(folder), _KEPT)
        self._step = position.step

    def restore(self):
        """Takes up the newest checkpoint. Returns whether there was one."""
        path = self._manager.latest_checkpoint
        if path:
            self._manager.checkpoint.restore(path).assert_consumed()
        return bool(path)

    def save(self):
        """Writes a checkpoint, and removes older ones than the last two."""
        self._manager.save(checkpoint_number=self._step)
