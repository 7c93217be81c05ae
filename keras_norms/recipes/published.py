"""What a published experiment is: a recipe, and what it is compared with."""

import dataclasses

from keras_norms.recipes import recipe, references

EXAMPLES = {"imagenet2012": 1_281_167, "cifar10": 50_000, "fashion_mnist": 60_000}
# Of a training step per multiply-add of the network: two forwards, four backwards.
_OPERATIONS = 6


@dataclasses.dataclass(frozen=True)
class Published:
    """A row of a published table.

    Attributes:
        recipe: `Recipe`, as published.
        label: String, the row as its table names it.
        references: Tuple of `references.Reference`, the first of which a report compares with; empty for a row that a
            study needs and nobody has published.
        parameters: Integer, the number of trainable weights.
        multiply_adds: Float, of one image in millions, auxiliary classifiers included.
        protocols: Tuple of pairs `(statistics, batch_size)`, how the network was tested, where that was not with moving
            statistics: see `training.evaluation.Protocol`.
        curve: String, the name of the published curve in `curves`, or None.
        unlike: Tuple of sentences, what was done in the published training or test and is not in the recipe.
    """

    recipe: recipe.Recipe
    label: str
    references: tuple
    parameters: int
    multiply_adds: float
    protocols: tuple = ()
    curve: str | None = None
    unlike: tuple = ()

    @property
    def images(self):
        """The number of images the training sees."""
        if self.recipe.steps:
            return self.recipe.steps * self.recipe.batch_size
        return self.recipe.epochs * EXAMPLES[self.recipe.dataset]

    @property
    def operations(self):
        """The floating-point operations of the whole training, two a multiply-add, normalization not counted."""
        return _OPERATIONS * 1e6 * self.multiply_adds * self.images

    def told(self):
        """Returns a line: what was published, and what the training costs."""
        results = [f"{one.metric} {one.value} ({one.source})" for one in self.references[:1]]
        return f"{results[0] if results else 'not published'}; {self.operations:.1e} FLOPs"


def row(recipe, label, found, parameters, multiply_adds, **more):
    """Returns a `Published`.

    Args:
        recipe: `Recipe`.
        label: String.
        found: Sequence of pairs of study and row, of `references.REFERENCES`.
        parameters, multiply_adds, more: See `Published`.
    """
    found = tuple(references.reference(*pair) for pair in found)
    return Published(recipe, label, found, parameters, multiply_adds, **more)
