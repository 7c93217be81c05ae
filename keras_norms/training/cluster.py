"""The machines of a run, as the environment variable TF_CONFIG tells of them."""

import json
import os

_ROLES = ("chief", "worker")


def size():
    """Returns the number of workers, 1 without TF_CONFIG.

    Raises:
        ValueError: TF_CONFIG is not understood.
    """
    return len(_addresses(_read()))


def index():
    """Returns the number of this worker, from 0, which is the chief's."""
    config = _read()
    if not config:
        return 0
    addresses, task = _addresses(config), config.get("task", {})
    role, number = task.get("type"), task.get("index")
    own = [i for i, (other, position, _) in enumerate(addresses) if (other, position) == (role, number)]
    if not own:
        raise ValueError(
            f"The `task` of TF_CONFIG must be one of its cluster: {[address[:2] for address in addresses]}. "
            f"Received: type={role!r}, index={number!r}."
        )
    return own[0]


def is_chief():
    """Returns whether this is the worker that writes: checkpoints, history, result, SavedModel."""
    return index() == 0


def _read():
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return {}
    try:
        config = json.loads(text)
        if not isinstance(config, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        raise ValueError(f"TF_CONFIG must hold a JSON object. Received: {text!r} ({error}).") from error
    return config


def _addresses(config):
    """Returns the workers as triples of role, index and address, the chief first."""
    cluster = config.get("cluster", {})
    others = sorted(cluster.keys() - set(_ROLES))
    if others:
        raise ValueError(
            f"The `cluster` of TF_CONFIG must have the tasks {' and '.join(_ROLES)} alone: there are no parameter "
            f"servers or evaluators here. Received: {others}."
        )
    tasks = [(role, i, address) for role in _ROLES for i, address in enumerate(cluster.get(role, ()))]
    return tasks or [("worker", 0, "")]
