"""Asking about many image files, so that a bad one costs no answer but its own."""

from keras_norms.export.clients import images
from keras_norms.export.clients.refusals import RefusedError, ServingError

# Those of the official image.
PORTS = {"rest": 8501, "grpc": 8500}


def connect(api, server, target, patience):
    """Returns a client, a context manager; nothing is sent yet.

    Args:
        api: "rest" or "grpc".
        server: `Server`.
        target: `Target`.
        patience: `Patience`.
    """
    # Each imports for a while, and needs what the other can do without.
    if api == "rest":
        from keras_norms.export.clients import rest as chosen
    elif api == "grpc":
        from keras_norms.export.clients import grpc as chosen
    else:
        raise ValueError(f"`api` must be one of {', '.join(PORTS)}. Received: {api!r}.")
    return chosen.Client(server, target, patience)


def ask(client, paths, batch_size):
    """Yields, for each path in order, the path and the `Answer` or the exception that took its place.

    Args:
        client: As `connect` returns it.
        paths: Sequence of paths of image files.
        batch_size: Integer, how many images a request has. If it is refused, its images are sent one by one.

    Raises:
        ServingError: No image gets an answer, for a reason that has nothing to do with the images.
    """
    for first in range(0, len(paths), batch_size):
        batch = paths[first : first + batch_size]
        files = [_read(path) for path in batch]
        found = iter(_answers(client, [file for file in files if isinstance(file, bytes)]))
        for path, file in zip(batch, files, strict=True):
            yield path, next(found) if isinstance(file, bytes) else file


def _read(path):
    """Returns the bytes of an image file, or the exception that says why it has none."""
    try:
        return images.read(path)
    except (OSError, ValueError) as error:
        return error


def _answers(client, files):
    if not files:
        return []
    try:
        return [_checked(answer) for answer in client.ask(files)]
    except RefusedError as error:
        if len(files) == 1:
            return [error]
    return [_answers(client, [file])[0] for file in files]


def _checked(answer):
    if answer.finite:
        return answer
    return ServingError("The model answers with probabilities that are no numbers (NaN): it is broken.")
