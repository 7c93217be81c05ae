"""The callbacks of a run itself: what it shows and writes while it trains."""

import keras

from keras_norms import probe
from keras_norms.training import loggers, profile, steps


def of_all_workers(state):
    """Yields the callbacks that every worker has.

    Args:
        state: `state.State` of the run.
    """
    average = state.average
    if average:  # each step moves it
        yield keras.callbacks.LambdaCallback(on_train_end=lambda logs: average.on_train_end())


def of_chief(settings, shown, looked_at, loss_weights):
    """Yields the callbacks that write, which are the chief's.

    Args:
        settings: `Settings` of the run.
        shown: `progress.Progress`.
        looked_at: Function that returns the batch of images and labels for a probe.
        loss_weights: Dict, see `steps.objective`.
    """
    folder = settings.folder
    yield shown
    yield loggers.TensorBoardScalars(folder / "tensorboard")
    if settings.profile:
        yield profile.Profile(folder / "tensorboard", settings.profile)
    if settings.probe_every:
        loss = steps.objective(loss_weights)
        yield probe.Probe(looked_at(), folder / "probe", every=settings.probe_every, loss=loss)
    for tracker in settings.trackers:
        yield from loggers.TRACKERS[tracker](folder, str(folder), settings.deciding())
