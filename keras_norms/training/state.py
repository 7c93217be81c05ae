"""All that changes in a run, and its checkpoints."""

import contextlib

import keras

from keras_norms import models
from keras_norms.data import pipeline
from keras_norms.training import checkpoints, history, optimizers, schedules, weight_average, workers


class State:
    """The network, what trains it, where the run is, and what it has come to so far.

    Attributes:
        model: Keras model, built under the strategy, with its optimizer as `model.optimizer`.
        multipliers: List of pairs, see `optimizers.multipliers`.
        average: `WeightAverage`, or None for a recipe without.
        position: `checkpoints.Position`.
        rows: `history.Rows`.

    Args:
        settings: `Settings`.
        dataset: `datasets.Dataset`.
        size: Integer, height and width of the images.
        total_steps: Integer, the length of the run.
        strategy: `tf.distribute.Strategy`.
    """

    def __init__(self, settings, dataset, size, total_steps, strategy):
        recipe = settings.recipe
        self._strategy = strategy
        self.position = checkpoints.Position()
        self.rows = history.Rows()
        keras.utils.set_random_seed(settings.seed)
        with strategy.scope():
            self.model = network(recipe, dataset, size, settings.precision)
            schedule = schedules.schedule(recipe, total_steps, self.position.warm_up_end)
            optimizer = optimizers.optimizer(recipe, schedule, settings.precision)
            optimizer.build(self.model.trainable_variables)
            self.model.optimizer = optimizer  # where Keras' callbacks look for it
        self.multipliers = optimizers.multipliers(recipe, self.model.trainable_variables)
        self.average = None
        if recipe.weight_average is not None:
            self.average = weight_average.WeightAverage(recipe.weight_average)
            self.average.set_model(self.model)
        self._checkpoints = checkpoints.Checkpoints(
            settings.folder / "checkpoints", self._variables(), {"rows": self.rows}, self.position, strategy
        )

    @property
    def is_new(self):
        """Whether no checkpoint was made yet."""
        return not self._checkpoints.exist

    def restore(self, is_chief):
        """Takes up the newest checkpoint, which the chief reads and the other workers get from it.

        Returns:
            List of lines about damaged checkpoints.

        Raises: As `checkpoints.Checkpoints.restore`.
        """
        warnings = self._checkpoints.restore() if is_chief else []
        workers.broadcast(self._strategy, [*self._checkpoints.firsts.values(), *self.position.variables])
        self._checkpoints.spread()
        self.rows.deserialize(workers.broadcast_text(self._strategy, self.rows.serialize()))
        return warnings

    def read(self):
        """Takes up the newest checkpoint that is whole, with the weights that are tested, and writes nothing.

        Returns:
            List of lines about damaged checkpoints.

        Raises: As `checkpoints.Checkpoints.read`.
        """
        warnings = self._checkpoints.read()
        if self.average:
            self.average.on_train_end()
        return warnings

    def save(self):
        """Writes a checkpoint, see `checkpoints.Checkpoints.save`."""
        self._checkpoints.save()

    def weights(self):
        """Returns the weights of the model as arrays, those of one replica: all have the same."""
        return [self._strategy.experimental_local_results(v.value)[0].numpy() for v in self.model.weights]

    def tested(self):
        """Returns a context in which the model has the weights that are tested: averages, if the recipe wants them."""
        return self.average.averaged() if self.average else contextlib.nullcontext()

    def _variables(self):
        """Returns what a checkpoint holds, by names that tell what it is.

        The variables, not the objects: a Keras model does not track the states of its random generators.
        """
        parts = {
            "model": self.model.variables,
            "optimizer": self.model.optimizer.variables,
            "average": self.average.variables if self.average else [],
        }
        return {
            f"{part}/{number}/{getattr(variable, 'path', variable.name)}": _of_tensorflow(variable)
            for part, variables in parts.items()
            for number, variable in enumerate(variables)
        }


def _of_tensorflow(variable):
    return variable.value if isinstance(variable, keras.Variable) else variable


def network(recipe, dataset, size, precision):
    """Returns the Keras model of a recipe, with images of a data set's channels and logits of its classes."""
    keras.config.set_dtype_policy(precision)
    try:
        return models.build(
            recipe.arch,
            input_shape=(size, size, dataset.channels),
            classes=len(dataset.class_names),
            normalization=recipe.normalization,
            use_scale=recipe.use_scale,
            use_bias=recipe.use_bias,
            activation=recipe.activation,
            dropout=recipe.dropout,
            keeps_bias=recipe.keeps_bias,
            options=dict(recipe.options),
            synchronized=recipe.synchronized,
        )
    finally:
        keras.config.set_dtype_policy("float32")


def preprocessing(recipe, dataset, size):
    """Returns the `pipeline.Preprocessing` of a recipe."""
    return pipeline.preprocessing(dataset, size, recipe.margin, recipe.pixel_mean, recipe.pixel_deviation)
