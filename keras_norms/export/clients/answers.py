"""What a server says about an image, the same over REST and gRPC."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Answer:
    """The most probable classes of an image.

    Args:
        classes: Tuple of strings, at most five, the most probable first.
        scores: Tuple of floats, their probabilities.
        version: Integer, the version that answered, or `None` where the API does not tell: REST does not, unless a
            version was asked for.
    """

    classes: tuple[str, ...]
    scores: tuple[float, ...]
    version: int | None = None

    @property
    def finite(self):
        return all(map(math.isfinite, self.scores))


def most_probable(classes, probabilities, version):
    """Returns the `Answer` made of the names of the most probable classes and the probabilities of all."""
    if not all(map(math.isfinite, probabilities)):  # They cannot be sorted.
        return Answer(tuple(classes), (math.nan,) * len(classes), version)
    scores = sorted(probabilities, reverse=True)[: len(classes)]
    return Answer(tuple(classes), tuple(scores), version)


def lines(name, answer, top):
    """Yields lines of text: the image, and its `top` most probable classes with their scores."""
    yield name if answer.version is None else f"{name} (version {answer.version})"
    for class_name, score in list(zip(answer.classes, answer.scores, strict=True))[:top]:
        yield f"  {score:.4f}  {class_name}"
