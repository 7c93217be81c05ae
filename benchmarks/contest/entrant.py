"""Who takes part in a contest, and what it runs."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENTS = {"tensorflow": ".venv", "backends": ".venv-backends"}
# Stock Keras with TensorFlow's own choice of kernels, and without those of oneDNN.
DEFAULT, ONEDNN_OFF = "keras, default environment", "keras, oneDNN off"


def onednn(name):
    """Returns the environment that the name of an entrant on TensorFlow stands for."""
    return {} if name == DEFAULT else {"TF_ENABLE_ONEDNN_OPTS": "0" if name == ONEDNN_OFF else "1"}


@dataclasses.dataclass(frozen=True)
class Entrant:
    """A name, and the function that makes what it runs, called in a process of its own.

    Args:
        name: The name in results.
        make: The function, as `"benchmarks.peers.step_torch:make"`. Its module imports the framework at the top, and
            computes nothing while imported: the process is copied afterwards.
        arguments: Keyword arguments of `make`, JSON values.
        environment: Variables of the environment the process starts in, beside those all entrants get.
        interpreter: `"tensorflow"` or `"backends"`, the environment of Python packages.
    """

    name: str
    make: str
    arguments: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)
    interpreter: str = "tensorflow"


@dataclasses.dataclass(frozen=True)
class Workload:
    """What `make` returns.

    Args:
        repeat: Does one repeat, and returns when its results are there.
        facts: JSON numbers known once it is built, as `{"kept bytes": 1024}`.
        device_memory: Returns the peak of memory of a device that the operating system does not account for, in bytes.
    """

    repeat: Callable
    facts: dict = dataclasses.field(default_factory=dict)
    device_memory: Callable | None = None


def interpreter(name):
    """Returns the Python of an environment beside the root, or the running one where there is none."""
    python = ROOT / ENVIRONMENTS[name] / "bin" / "python"
    return str(python if python.exists() else sys.executable)
