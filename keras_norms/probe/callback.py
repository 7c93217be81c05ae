"""A callback that looks into the network at chosen steps."""

import importlib.util
import pathlib

import keras
from keras import ops

from keras_norms.layers import arguments
from keras_norms.probe import measurement, picture, record


class Probe(keras.callbacks.Callback):
    """Records norms, statistics, dead channels, gradients and drift of a network at chosen steps of its training.

    Use it to see where by depth and time a training differs from another: which layers' outputs grow or vanish, which
    channels die, which weights get no gradient, which moving statistics lag behind. `probe.measurement` defines each
    quantity. A look takes about as long as three uncompiled training steps on the batch; other steps cost nothing.

    In `directory` it writes `probe.csv` (a line a number), `channels.csv` (a line a channel), `probe.png` (see
    `probe.plot`) at the end of the training, where matplotlib is installed, and in `tensorboard/` the same for
    TensorBoard. Everything is on disk after each look. A training that goes on from a checkpoint takes the files up:
    what they hold of its first step and later ones is replaced.

    Step 0 is before the training, step `n` after `n` steps. Counting goes on from `optimizer.iterations`, or from
    `first_step` of the callback's `params` where a training loop gives one. Where one call of the loop makes several
    steps (`steps_per_execution`), a look that falls amid them is taken at their end, under that step's number.

    No variable moves, random states included. On replicas of a `tf.distribute` strategy one device looks, at weights
    and at the means of statistics over the replicas.

    Args:
        batch: Pair of inputs and labels, as `fit` takes them, with two examples or more: the same for all looks.
        directory: Path of the folder to write.
        every: Integer, how many steps lie between two looks, the first one at step 0; `None` for `steps` alone.
        steps: Sequence of integers, steps to look at beside.
        layers: Sequence of the Keras layers to look at; `None` for all, see `probe.measure`.
        loss: Loss whose gradients are measured, its mean over the batch: name or instance of a Keras loss, or function
            of labels and outputs. `None` for that of `compile`, or where the model is not compiled the cross-entropy
            of integer labels and logits (the output `"main"` of several).
        tensorboard: Boolean, whether to write for TensorBoard. It needs the TensorFlow backend.

    Example:
    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras_norms.BatchNorm()])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.array([[0.0, 1.0], [2.0, 5.0]]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     observer = keras_norms.Probe((x, y), folder, every=2, tensorboard=False)
    ...     history = model.fit(x, y, batch_size=1, epochs=2, verbose=0, callbacks=[observer])
    ...     readings = keras_norms.probe.read(f"{folder}/probe.csv")
    >>> sorted({reading["step"] for reading in readings})
    [0, 2, 4]

    Reference: [Gitman and Ginsburg, 2017](https://arxiv.org/abs/1709.08145)
    """

    def __init__(self, batch, directory, every=None, steps=(), layers=None, loss=None, tensorboard=True):
        super().__init__()
        self._batch = _checked(batch)
        self._directory = pathlib.Path(directory)
        self._every = None if every is None else arguments.integer("every", every, 1)
        self._steps = {arguments.integer("steps", step, 0) for step in steps}
        if not (self._every or self._steps):
            raise ValueError("`every` or `steps` must choose when to look. Received: every=None, steps=().")
        self._layers = None if layers is None else tuple(layers)
        self._loss = loss
        self._tensorboard = arguments.boolean("tensorboard", tensorboard)
        if tensorboard and keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`tensorboard=True` needs the TensorFlow backend: pass tensorboard=False, the CSV files hold the same. "
                f"Received: backend={keras.backend.backend()!r}."
            )
        self._step, self._records = 0, []

    def on_train_begin(self, logs=None):
        first_step = (self.params or {}).get("first_step")
        self._step = _iterations(self.model) if first_step is None else first_step
        self._records = [record.Record(self._directory, self._step)]
        if self._tensorboard:
            from keras_norms.probe import tensorboard_tensorflow

            self._records.append(tensorboard_tensorflow.TensorBoardRecord(self._directory / "tensorboard"))
        self._look_if_chosen(self._step)

    def on_train_batch_begin(self, batch, logs=None):
        self._first_batch = batch

    def on_train_batch_end(self, batch, logs=None):
        next_step = self._step + 1
        self._step += batch - self._first_batch + 1
        self._look_if_chosen(next_step)

    def on_train_end(self, logs=None):
        for written in self._records[1:]:
            written.close()
        readings = self._directory / record.READINGS
        if importlib.util.find_spec("matplotlib") and record.read(readings):
            picture.plot(readings, self._directory / "probe.png")

    def _look_if_chosen(self, next_step):
        """Looks if one of the steps from `next_step` to the present one is chosen."""
        made = range(next_step, self._step + 1)
        if not (self._steps.intersection(made) or (self._every and any(step % self._every == 0 for step in made))):
            return
        measured = measurement.measure(self.model, self._batch, _function(self._loss, self.model), self._layers)
        for written in self._records:
            written.write(self._step, measured)


def cross_entropy(labels, outputs):
    """Returns the cross-entropy of each example.

    Args:
        labels: Integer tensor of shape `(batch,)`.
        outputs: Logits of shape `(batch, classes)`, or a dict of outputs with them as `"main"`.
    """
    logits = outputs["main"] if isinstance(outputs, dict) else outputs
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def _checked(batch):
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise ValueError(f"`batch` must be a pair of inputs and labels. Received: batch of type {type(batch)}.")
    lengths = {len(array) for array in keras.tree.flatten(batch)}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(
            "`batch` must hold two examples or more, as many inputs as labels: a channel is dead if no example "
            f"changes it. Received: arrays of {sorted(lengths)} examples."
        )
    return tuple(batch)


def _iterations(model):
    optimizer = getattr(model, "optimizer", None)
    return 0 if optimizer is None else int(ops.convert_to_numpy(optimizer.iterations))


def _function(loss, model):
    """Returns the loss as a function of labels and outputs."""
    if loss is None:
        loss = model.loss if model.compiled else cross_entropy
    if not (isinstance(loss, (str, keras.losses.Loss)) or callable(loss)):
        raise ValueError(
            "`loss` must be one loss; where the model is compiled with several, pass a function of labels and outputs. "
            f"Received: loss={loss!r}."
        )
    loss = keras.losses.get(loss)
    # Not the call of a Keras loss, which divides by the number of replicas in the scope of a strategy.
    return loss.call if isinstance(loss, keras.losses.Loss) else loss
