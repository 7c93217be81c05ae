"""The machines of a run, as the environment variable TF_CONFIG tells of them."""

import json
import os

_ROLES = ("chief", "worker")


def size():
    """Returns the number of workers, 1 without TF_CONFIG.

    Raises:
        ValueError: TF_CONFIG is not understood.
    """
    return len(_tasks(_read()))


def index():
    """Returns the number of this worker, from 0, which is the chief's."""
    config = _read()
    if not config:
        return 0
    tasks, task = [*_tasks(config)], config.get("task", {})
    own = (task.get("type"), task.get("index")) if isinstance(task, dict) else task
    if own not in tasks:
        raise ValueError(f"The `task` of TF_CONFIG must be one of its cluster, {tasks}. Received: {task!r}.")
    return tasks.index(own)


def is_chief():
    """Returns whether this is the worker that writes: checkpoints, history, result, SavedModel."""
    return index() == 0


def addresses():
    """Returns `host:port` of each worker, in the order of their numbers."""
    return [*_tasks(_read()).values()]


def roles():
    """Returns how many workers each role of TF_CONFIG has, by its name, the chief's role first."""
    names = [role for role, _ in _tasks(_read())]
    return {role: names.count(role) for role in dict.fromkeys(names)}


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


def _tasks(config):
    """Returns the addresses of the workers by (role, index), the chief's first."""
    cluster = config.get("cluster", {})
    if not isinstance(cluster, dict) or cluster.keys() - set(_ROLES):
        raise ValueError(
            f"The `cluster` of TF_CONFIG must be an object of the roles {' and '.join(_ROLES)} alone: there are no "
            f"parameter servers or evaluators here. Received: {cluster!r}."
        )
    listed = {role: cluster.get(role, []) for role in _ROLES}
    if not all(isinstance(listed[role], list) for role in _ROLES) or len(listed["chief"]) > 1:
        raise ValueError(
            f"Each role of TF_CONFIG must have a list of addresses, `chief` one. Received: cluster={cluster!r}."
        )
    tasks = {(role, i): address for role in _ROLES for i, address in enumerate(listed[role])}
    _check_addresses([*tasks.values()])
    return tasks or {("worker", 0): ""}


def _check_addresses(addresses):
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"The addresses in TF_CONFIG must have the form host:port. Received: {address!r}.")
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"Each worker in TF_CONFIG must have an address of its own. Received: {addresses}.")
