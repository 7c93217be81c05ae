"""The state of a run on disk: weights, statistics, optimizer, random states, history, and the position in the data.

Checkpoints are TensorFlow's, kept by its `CheckpointManager`. Beside each stands a file of digests, written last: a
checkpoint without one was never completed and is removed; one that does not match it is damaged.
"""

import contextlib
import functools
import hashlib
import json
import pathlib
import shutil

import numpy as np
import tensorflow as tf

from keras_norms.training import run_folder

_KEPT = 3
_DIGESTS = ".sha256"
_DAMAGED = ".damaged"


class Position(tf.Module):
    """Where a run is.

    Attributes:
        step, epoch: Integers, the steps made, the epochs ended.
        sums: Vector, see `steps.Progress`.
        warm_up_end: Integer, see `schedules.schedule`.
        stopped: Boolean, whether a callback has ended the training.
    """

    def __init__(self):
        super().__init__()
        self.step = tf.Variable(0, dtype=tf.int64, name="step")
        self.epoch = tf.Variable(0, dtype=tf.int64, name="epoch")
        self.sums = tf.Variable(tf.zeros(3), name="sums")
        self.warm_up_end = tf.Variable(tf.int64.max, dtype=tf.int64, name="warm_up_end")
        self.stopped = tf.Variable(False, name="stopped")

    @tf.function(input_signature=[tf.TensorSpec((), tf.bool)])
    def end_epoch(self, stopped):
        """Moves on to the next epoch, in one call: it cannot be interrupted half-way."""
        self.epoch.assign_add(1)
        self.stopped.assign(stopped)
        self.sums.assign(tf.zeros(3))


class Checkpoints:
    """Saves and restores a run.

    The copies of a variable that the replicas have are equal after every step, so that the first one is saved: no
    other replica or worker takes part.

    Args:
        folder: Path.
        variables: Dict from names to variables of TensorFlow, distributed ones included, in an order that does not
            change from process to process. The names are for messages.
        trackables: Dict from names to further objects that `tf.train.Checkpoint` can save.
        position: `Position`.
        strategy: `tf.distribute.Strategy`.
    """

    def __init__(self, folder, variables, trackables, position, strategy):
        self._folder = pathlib.Path(folder)
        self._step = position.step
        self._copies = {name: strategy.experimental_local_results(value) for name, value in variables.items()}
        self.firsts = {name: copies[0] for name, copies in self._copies.items()}
        self._checkpoint = tf.train.Checkpoint(variables=list(self.firsts.values()), position=position, **trackables)

    @property
    def exist(self):
        """Whether there is a checkpoint that was completed."""
        return bool(_complete(self._folder))

    def restore(self):
        """Takes up the newest checkpoint that is whole.

        Damaged checkpoints are renamed, so that they are not met again; what was never completed is removed.

        Returns:
            List of lines about damaged checkpoints.

        Raises:
            OSError: There are checkpoints, and all of them are damaged.
            ValueError: The newest is that of another network.
        """
        whole, damaged = [], []
        for prefix in _complete(self._folder):
            (whole if _matches(prefix) else damaged).append(prefix)
        warnings = [
            f"The checkpoint {prefix} is damaged. Its files were renamed to end in {_DAMAGED}." for prefix in damaged
        ]
        for file in (file for prefix in damaged for file in _files(prefix)):
            file.rename(f"{file}{_DAMAGED}")
        _remove_incomplete(self._folder)
        if damaged and not whole:
            raise OSError(
                f"No checkpoint in {self._folder} can be used. {' '.join(warnings)} To start anew, remove the "
                "folder of the run or choose another --workdir."
            )
        if whole:
            self._take_up(whole[-1])
        return warnings

    def read(self):
        """Takes up the newest checkpoint that is whole. The folder stays as it is: a training may be at work there.

        Returns:
            List of lines about newer checkpoints, which are damaged.

        Raises:
            OSError: No checkpoint is whole.
            ValueError: The newest is that of another network.
        """
        passed = []
        # Listed anew each time: the training may have removed a checkpoint while it was read, and written another.
        while left := [prefix for prefix in _complete(self._folder) if prefix not in passed]:
            with contextlib.suppress(tf.errors.NotFoundError):
                if _matches(left[-1]):
                    self._take_up(left[-1])
                    return [f"The checkpoint {prefix} is damaged." for prefix in passed if _files(prefix)]
            passed.append(left[-1])
        raise FileNotFoundError(
            f"There is no checkpoint in {self._folder} that can be used"
            f"{f': {len(passed)} are damaged' if passed else ''}."
        )

    def save(self):
        """Writes a checkpoint, and removes older ones than the last three.

        Raises:
            FloatingPointError: The state holds values that are no numbers. It is not saved.
            OSError: It cannot be written. Earlier checkpoints are as they were.
        """
        self._check_numbers()
        try:
            self._folder.mkdir(exist_ok=True)
            _digests(self._folder / f"ckpt-{int(self._step)}").unlink(missing_ok=True)
            # Before TensorFlow's manager lists it, and removes an older one.
            options = tf.train.CheckpointOptions(experimental_write_callbacks=[_completed])
            self._manager.save(checkpoint_number=self._step, options=options)
            _remove_incomplete(self._folder)
        except (OSError, tf.errors.OpError) as error:
            _remove_incomplete(self._folder)
            kept = _complete(self._folder)
            reason = str(error).partition("\n")[0]
            raise OSError(
                f"No checkpoint could be written after step {int(self._step)}: {reason}. "
                f"{f'The last one, {kept[-1]}, is intact' if kept else 'There is no earlier one'}. When the folder can "
                "be written again, the same command goes on."
            ) from error

    @functools.cached_property
    def _manager(self):
        """The manager of the complete checkpoints in the folder, wherever that was when they were written."""
        known = [str(prefix) for prefix in _complete(self._folder)]
        if known:
            # Without times, or with one that is preserved, it would keep all of them for ever.
            listed = tf.compat.v1.train.generate_checkpoint_state_proto(
                str(self._folder),
                known[-1],
                known,
                all_model_checkpoint_timestamps=[
                    _digests(prefix).stat().st_mtime for prefix in _complete(self._folder)
                ],
                last_preserved_timestamp=0.0,
            )
            run_folder.replace(self._folder / "checkpoint", lambda temporary: temporary.write_text(str(listed)))
        return tf.train.CheckpointManager(self._checkpoint, str(self._folder), _KEPT)

    def spread(self):
        """Gives every replica of this worker what the first one has."""
        for first, *others in self._copies.values():
            for copy in others:
                copy.assign(first)

    def _take_up(self, prefix):
        try:
            self._checkpoint.restore(str(prefix)).assert_consumed()
        except (AssertionError, ValueError) as error:
            raise ValueError(
                f"The checkpoint {prefix} is not one of this network: it was made by another version of the code. "
                "Choose another --workdir."
            ) from error
        self.spread()

    def _check_numbers(self):
        for name, variable in self.firsts.items():
            if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
                raise FloatingPointError(f"{name} holds values that are no numbers after step {int(self._step)}.")


def _completed(path):
    """Brings the files of a checkpoint onto the disk, and then their digests, which make it a complete one."""
    prefix = pathlib.Path(path)
    for file in _files(prefix):
        run_folder.sync(file)
    run_folder.write(_digests(prefix), {file.name: _digest(file) for file in _files(prefix)})
    # Those that TensorFlow removes now, file by file, are no longer complete ones.
    for old in _complete(prefix.parent)[:-_KEPT]:
        _digests(old).unlink()


def _complete(folder):
    """Returns the prefixes of the checkpoints that were completed, oldest first."""
    prefixes = [file.with_suffix("") for file in folder.glob(f"ckpt-*{_DIGESTS}")]
    return sorted(
        (p for p in prefixes if len(_files(p)) > 1), key=lambda prefix: int(prefix.name.removeprefix("ckpt-"))
    )


def _files(prefix):
    return [file for file in sorted(prefix.parent.glob(f"{prefix.name}.*")) if file.suffix != _DAMAGED]


def _digests(prefix):
    return prefix.with_name(prefix.name + _DIGESTS)


def _digest(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _matches(prefix):
    try:
        digests = json.loads(_digests(prefix).read_text())
        return bool(digests) and all(_digest(prefix.with_name(name)) == value for name, value in digests.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _remove_incomplete(folder):
    complete = {prefix.name for prefix in _complete(folder)}
    for path in folder.glob("ckpt-*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != _DAMAGED and path.name.split(".")[0] not in complete:
            path.unlink()
