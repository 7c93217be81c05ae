"""A run: a recipe, carried out on the devices of this machine or of several, in a folder that keeps all of it."""

import contextlib
import functools
import math
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_norms import models
from keras_norms.data import datasets, pipeline, records, shares
from keras_norms.training import (
    cluster,
    devices,
    diagnosis,
    evaluation,
    history,
    initialization,
    interruption,
    loop,
    memory,
    observation,
    progress,
    run_folder,
    speed,
    steps,
    workers,
)
from keras_norms.training import state as states


class Outcome(NamedTuple):
    """What a run has led to.

    Attributes:
        model: Keras model in float32, outside any strategy.
        prepare: `pipeline.Preprocessing`, from pixels to what the model takes.
        dataset: `datasets.Dataset`.
        result: Dict, the content of `result.json`.
    """

    model: keras.Model
    prepare: pipeline.Preprocessing
    dataset: datasets.Dataset
    result: dict


class Run:
    """Everything a run needs, made and checked before the first step.

    A run whose folder holds a checkpoint goes on from it, to the very bits it would have come to without the break;
    one that has ended is not repeated. On several machines all do the same, and the chief alone writes.

    Args:
        settings: `Settings`.

    Raises:
        ValueError, OSError: Something in the settings does not exist, does not fit, or cannot be written.
    """

    @workers.lost_ones_reported()
    def __init__(self, settings):
        settings.check()
        recipe = settings.recipe
        self.settings = settings
        self.is_chief = cluster.is_chief()
        compiled = devices.compiled(settings.xla)
        if compiled and recipe.synchronized:
            raise ValueError(
                "Synchronized batch norm exchanges statistics inside the network, which a program that XLA compiles "
                "for one replica cannot do: use --xla=off or --nosynchronized. Received: xla on, synchronized=True."
            )
        self.strategy = devices.strategy(settings.replicas, {**settings.deciding(), **run_folder.versions()})
        replicas = self.strategy.num_replicas_in_sync
        architecture = models.ARCHITECTURES[recipe.arch]
        size = recipe.image_size or architecture.input_shape[0]
        self.dataset = datasets.load(
            recipe.dataset, settings.data_dir, size, skip_bad_records=settings.skip_bad_records
        )
        self.prepare = states.preprocessing(recipe, self.dataset, size)
        self._epoch_steps = pipeline.steps_per_epoch(self.dataset, recipe.batch_size, recipe.drop_remainder)
        self._total_steps = recipe.steps or recipe.epochs * self._epoch_steps
        self.state = states.State(settings, self.dataset, size, self._total_steps, self.strategy)
        self.model = self.state.model
        self._demand = (
            self.model,
            recipe.batch_size,
            replicas,
            memory.available(),
            recipe.micro_batches,
            cluster.size(),
        )
        memory.check(*self._demand)
        filled = shares.Shares(replicas).fills(recipe.batch_size, recipe.drop_remainder)
        cut_unevenly = -(-recipe.batch_size // replicas) % recipe.micro_batches > 0
        self.computation = steps.Computation(
            self.model, self.strategy, architecture.loss_weights, compiled, filled or cut_unevenly
        )
        if self.is_chief:
            run_folder.claim(settings.folder, settings.deciding(), list(self.strategy.extended.worker_devices))
            with run_folder.locked(settings.folder):
                pass  # refused now rather than after the data have been read once more

    @workers.lost_ones_reported()
    def train(self, callbacks=()):
        """Trains to the end, or takes up what a finished run has left.

        Args:
            callbacks: Sequence of further Keras callbacks. Their logs are `loss` and `accuracy`, the means so far in
                this epoch, `learning_rate`, and at the end of an epoch also `val_loss` and `val_accuracy` of the test
                images and `step`. Losses are those of the main output, without weight decay. On several machines they
                run on each. What they keep to themselves is lost when a run is resumed.

        Returns:
            `Outcome`.

        Raises:
            Interrupted: From the keyboard, or `Preempted`, with SIGTERM; the state is saved, and the same run goes on
                from there.
            FloatingPointError: Loss, statistics or weights are no numbers any more; the last checkpoint is kept.
            ValueError: Another process is at work on the run.
            OSError: Something cannot be written; the last checkpoint is kept.
            LostError: Another worker has gone; the last checkpoint is kept.
        """
        with run_folder.locked(self.settings.folder) if self.is_chief else contextlib.nullcontext():
            if self.is_chief and self.state.is_new:
                self._initialize()
            for warning in self.state.restore(self.is_chief):
                print(warning, flush=True)
            ended = self.is_chief and self._result() is not None
            if not int(workers.broadcast_text(self.strategy, str(int(ended)))):
                self._train_from(int(self.state.position.step), callbacks)
                self._end(bool(callbacks))
        workers.part(self.strategy)
        plain = states.network(self.settings.recipe, self.dataset, self.prepare.size, "float32")
        plain.set_weights(self.state.weights())
        return Outcome(plain, self.prepare, self.dataset, self._result() or self._summary({}))

    def __str__(self):
        recipe, dataset, shape = self.settings.recipe, self.dataset, self.model.input_shape[1:]
        return (
            f"{recipe.arch}, {recipe.normalization}, {_parameters(self.model):,} trainable parameters, "
            f"images of {'x'.join(map(str, shape))}\n"
            f"{recipe.dataset}: {dataset.train_examples:,} training and {dataset.test_examples:,} test images"
            f"{_left_out(dataset)}\n"
            f"{self._total_steps:,} steps of {recipe.batch_size} images, {self.settings.precision}, "
            f"{self.strategy.num_replicas_in_sync} replica(s), XLA {'on' if self.computation.compiled else 'off'}\n"
            f"Run folder: {self.settings.folder}"
        )

    def _train_from(self, first_step, callbacks):
        epochs = math.ceil(self._total_steps / self._epoch_steps)
        speeds = speed.Speed(self.settings.recipe.batch_size)
        observers = keras.callbacks.CallbackList(
            [*self._observers(first_step, epochs, speeds), *callbacks],
            model=self.model,
            epochs=epochs,
            steps=self._epoch_steps,
            first_step=first_step,
        )
        batches = self._training_batches(first_step)
        step, minutes = self._training_step(batches), self.settings.checkpoint_minutes
        steps_made = loop.Loop(step, batches, self.state, speeds, observers, self._save, minutes)
        self.state.rows.keep(int(self.state.position.epoch))
        self._show_history()
        if not first_step:
            self._save()
        observers.on_train_begin()
        try:
            self._train_epochs(epochs, steps_made, speeds, observers)
        except KeyboardInterrupt as interrupt:
            self._save()
            if isinstance(interrupt, interruption.Preempted):  # all workers stop then, after the same step
                workers.part(self.strategy)
            raise self._interrupted(interrupt) from interrupt
        except loop.BrokenStepError as error:
            raise FloatingPointError(self._explained(error)) from error
        except tf.errors.ResourceExhaustedError as error:
            raise memory.explained(error, *self._demand) from error
        except workers.LOST:
            raise
        except records.READING_ERRORS:
            datasets.check(self.dataset)
            raise
        finally:
            observers.on_train_end()

    def _train_epochs(self, epochs, steps_made, speeds, observers):
        position = self.state.position
        self.model.stop_training = bool(position.stopped)
        with interruption.termination_request() as request:
            for epoch in range(int(position.epoch), epochs):
                if self.model.stop_training:
                    break
                observers.on_epoch_begin(epoch)
                speeds.begin_epoch()
                first = epoch * self._epoch_steps
                steps_made.advance(first, min(first + self._epoch_steps, self._total_steps), request)
                self._end_epoch(epoch, speeds, observers)
                steps_made.saved()
                request.check()
            if workers.any_told(self.strategy, request.made):  # after the last step, which would have heard of it
                raise interruption.Preempted

    def _observers(self, first_step, epochs, speeds):
        yield from observation.of_all_workers(self.state)
        if self.is_chief:
            shown = progress.Progress(self._total_steps, first_step, epochs, speeds)
            yield from observation.of_chief(self.settings, shown, self._looked_at, self.computation.loss_weights)

    def _looked_at(self):
        """Returns the first test images and their labels, as many as a replica trains on."""
        share = max(2, -(-self.settings.recipe.batch_size // self.strategy.num_replicas_in_sync))
        images, labels, weights = next(iter(pipeline.test_batches(self.dataset, self.prepare, share)))
        return images[weights > 0], labels[weights > 0]

    def _training_batches(self, first_step):
        def of_worker(context):
            batches = self._examples(first_step, devices.worker_shares(self.strategy, context))
            # Known to be endless: else several workers look for the end together before each batch, of unknown size.
            return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

        return iter(self.strategy.distribute_datasets_from_function(of_worker))

    def _examples(self, first_step, parts):
        recipe, seed = self.settings.recipe, self.settings.seed
        how = recipe.crop, recipe.flip, first_step, recipe.drop_remainder, parts
        return pipeline.training_batches(self.dataset, self.prepare, recipe.batch_size, seed, *how)

    def _initialize(self):
        """Sets the weights before the first step as the recipe says, on the chief, from which the others get them."""
        recipe = self.settings.recipe
        if recipe.initialization is None:
            return
        plain = states.network(recipe, self.dataset, self.prepare.size, "float32")
        plain.set_weights(self.state.weights())
        images, _, weights = next(iter(self._examples(0, shares.ALONE)))
        told = initialization.initialize(plain, recipe, images[weights > 0].numpy(), self.settings.seed)
        self.model.set_weights(plain.get_weights())
        run_folder.replace(self.settings.folder / "initialization.txt", lambda path: path.write_text(f"{told}\n"))

    def _training_step(self, batches):
        return steps.training_step(self.computation, self.state, self.settings.recipe, batches)

    def _end_epoch(self, epoch, speeds, observers):
        position = self.state.position
        logs = {
            **loop.means(position.sums),
            **self._tested(),
            "learning_rate": float(self.model.optimizer.learning_rate),
            "step": int(position.step),
        }
        row = self.state.rows.append(epoch, logs)
        self._show_history()
        if self.is_chief:
            speed.append(speeds.row(epoch), self.settings.folder / "speed.csv")
        observers.on_epoch_end(epoch, {name: value for name, value in row.items() if name != "epoch"})
        position.end_epoch(self.model.stop_training)
        self._save()

    def _tested(self):
        with self.state.tested():
            return self._evaluation.means()

    def _end(self, observed):
        """Writes the result. Observers may have changed the weights at the very end, and so does an average."""
        tested = {}
        if observed or self.state.average:
            tested = self._evaluation.means()
            self._save()
        if self.is_chief:
            run_folder.write(self.settings.folder / run_folder.RESULT, self._summary(tested))

    def _save(self):
        if self.is_chief:
            self.state.save()

    def _show_history(self):
        if self.is_chief and len(self.state.rows):
            history.write(self.state.rows, self.settings.folder / "history.csv")
            history.draw(self.state.rows, self.settings.folder / "curves.png")

    @functools.cached_property
    def _evaluation(self):
        return evaluation.Evaluation(self.computation, self.dataset, self.prepare, self.settings.recipe.batch_size)

    def _interrupted(self, interrupt):
        """Returns what tells of an interruption after the state was saved."""
        kind, what = interruption.Interrupted, "Interrupted"
        if isinstance(interrupt, interruption.Preempted):
            kind, what = interruption.Preempted, "Told to end"
        return kind(
            f"{what} after step {int(self.state.position.step)} of {self._total_steps}. All of it is kept in "
            f"{self.settings.folder}; the same command goes on from there."
        )

    def _explained(self, error):
        """Returns what tells of a broken step, and of the first layer that shows it.

        The step has spoilt the weights. Those before it come from the last checkpoint and the steps since, which are
        made again to the same bits.
        """
        self.state.restore(self.is_chief)
        batches = self._training_batches(int(self.state.position.step))
        step = self._training_step(batches)
        while int(self.state.position.step) < error.number - 1:
            step(next(batches), 0.0)
        loss = steps.objective(self.computation.loss_weights)
        parts = zip(*map(self.strategy.experimental_local_results, next(batches)), strict=True)
        places = [diagnosis.first_broken(self.model, loss, images, labels) for images, labels, _ in parts]
        found = next(filter(None, places), "no place, when each layer is computed by itself")
        return (
            f"{error}. The first place that shows it: {found}. Try a lower --learning_rate in a new --workdir. The "
            f"last checkpoint, from before, is kept in {self.settings.folder}."
        )

    def _result(self):
        return run_folder.result(self.settings.folder)

    def _summary(self, tested):
        return {
            **self.state.rows.summary(),
            **{name.replace("val_", "test_"): value for name, value in tested.items()},
            "test_split": self.dataset.test_split,
            "test_examples": self.dataset.test_examples,
            "bad_records": {split: len(found) for split, found in self.dataset.bad_records.items()},
            "steps": int(self.state.position.step),
            "trainable_parameters": _parameters(self.model),
        }


def finished(settings):
    """Returns the result of a run with these settings that has ended in its folder, or None.

    On several machines it is None: all of them take part in finding out.

    Raises:
        ValueError: The folder is that of a run with other settings.
    """
    return None if cluster.size() > 1 else run_folder.result_of(settings.folder, settings.deciding())


def _parameters(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def _left_out(dataset):
    """Returns what tells of records that were skipped."""
    counts = {split: len(records) for split, records in dataset.bad_records.items() if records}
    return "".join(f"; {count:,} bad records of `{split}` left out" for split, count in counts.items())
