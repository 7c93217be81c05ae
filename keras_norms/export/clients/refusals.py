"""Why a server did not answer, in words that say what to do."""

_WAIT = " One that is loading will answer in a while."


class ServingError(RuntimeError):
    """There is no answer, to this request or to any."""


class RefusedError(ServingError):
    """The server refuses what the request holds: one of its images, if it has several."""


class StatusError(Exception):
    """What TensorFlow Serving says in place of an answer.

    Args:
        code: String, the name of a status code of gRPC, which REST maps to those of HTTP.
        message: String.
    """

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def unexpected(server, received):
    """Returns the exception for a reply that is not of the form which the signatures of keras_norms promise."""
    return ServingError(
        f"{server.address} must answer as TensorFlow Serving does, for a model exported by keras_norms. "
        f"Received: {received}."
    )


def explained(client, error):
    """Returns the exception to raise for the `StatusError` that a request for answers got.

    What the server says is not always what is wrong, and its words change between versions and APIs. So it is asked
    what it has.

    Args:
        client: A client of this package.
        error: `StatusError`.
    """
    try:
        if error.code == "NOT_FOUND" or "version label" in error.message:
            return _not_there(client, error)
    except (StatusError, ServingError):
        pass  # What is known already must do.
    if error.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
        return _without_signature(client) or RefusedError(f"The server refuses it: {_first_line(error.message)}")
    return ServingError(f"{client.server.address} answers {error.code}: {_first_line(error.message)}")


def _without_signature(client):
    """Returns the exception for a model that lacks the signature, or `None`."""
    target = client.target
    try:
        # The others are TensorFlow's own.
        names = sorted(name for name in client.signatures() if not name.startswith("__"))
    except (StatusError, ServingError):
        return None
    if target.signature in names:
        return None
    return ServingError(
        f"The model {target.model!r} has no signature {target.signature!r}. It has: {', '.join(names) or 'none'}."
    )


def _not_there(client, error):
    """Returns the exception for a model, version or label that the server does not have, or not yet."""
    target, address = client.target, client.server.address
    try:
        versions = client.versions()
    except StatusError as missing:
        if missing.code != "NOT_FOUND":
            raise
        reason = _first_line(missing.message)
        return ServingError(f"The server {address} has no model {target.model!r} ({reason}).")
    states = [f"{version} {state}{reason and f' ({reason})'}" for version, state, reason in sorted(versions)]
    available = f"Its versions: {', '.join(states) or 'none'}." + (_WAIT if _loading(versions, target) else "")
    if target.label is not None and "label" in error.message:
        return ServingError(f"The model {target.model!r} has no label {target.label!r} at {address}. {available}")
    which = "" if target.version is None else f" version {target.version} of"
    return ServingError(f"The server {address} does not serve{which} the model {target.model!r}. {available}")


def _loading(versions, target):
    return any(state in ("START", "LOADING") and target.version in (None, version) for version, state, _ in versions)


def _first_line(message):
    return message.strip().partition("\n")[0][:500] or "nothing more"
