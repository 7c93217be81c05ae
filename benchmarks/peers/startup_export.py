"""The export of a trained network, by `keras_norms` and by stock Keras."""

import pathlib
import tempfile

from benchmarks.contest.entrant import Workload
from benchmarks.peers import inference_exports, networks_keras


def make_keras_norms(arch, size):
    """Folded, written, and verified in two fresh processes."""
    model = inference_exports.trained(networks_keras.ours(arch, "batch_norm_before", size, 10))

    def repeat():
        with tempfile.TemporaryDirectory() as folder:
            inference_exports.folded(model, pathlib.Path(folder))

    return Workload(repeat)


def make_keras(arch, size):
    """Written."""
    model = inference_exports.trained(networks_keras.stock(arch, "batch_norm_before", size, 10))

    def repeat():
        with tempfile.TemporaryDirectory() as folder:
            model.export(folder, verbose=False)

    return Workload(repeat)
