"""Prints where the time of a training step goes, by kind of operation, for keras_norms and for stock Keras.

    python -m benchmarks.operations --arch googlenet128
    python -m benchmarks.operations --arch resnet20 --normalization weight_norm_trelu --entrants keras_norms
    python -m benchmarks.operations --arch googlenet128 --exported 32

Milliseconds a step, or a call of the SavedModel, added up over the threads that call operations, two of which run at
once: they say what is large, not how long a step takes. `benchmarks.step` and `benchmarks.inference` measure that.
"""

import argparse
import collections
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import inference, step, table
from benchmarks.contest import options
from benchmarks.peers import inference_tensorflow, step_tensorflow

MAKE = {"keras_norms": step_tensorflow.make_keras_norms, "keras": step_tensorflow.make_keras}
EXPORTED = {"keras_norms": "folded", "keras": "keras"}
STEPS = 5
# What TensorFlow's own executor records around the operations.
AROUND = {"Process", "Run", "RunWithBorrowedArgs"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=list(step.NETWORKS), default="googlenet128")
    parser.add_argument("--normalization", choices=step.NORMALIZATIONS, default="batch_norm_before")
    parser.add_argument("--exported", type=int, help="so many images to the SavedModel, in place of a training step")
    parser.add_argument("--entrants", default="", help="only those whose name contains this")
    parser.add_argument("--kinds", type=int, default=20, help="how many kinds of operations, the largest ones")
    given = parser.parse_args()
    names = options.chosen(MAKE, given.entrants)
    if given.exported:
        found = of_exports(given.arch, given.exported, names)
    else:
        found = {name: milliseconds(training_step(name, given.arch, given.normalization)) for name in names}
    total = sum(found.values(), collections.Counter())
    rows = [[kind, *(f"{each[kind]:.1f}" for each in found.values())] for kind, _ in total.most_common(given.kinds)]
    rows.append(["all", *(f"{each.total():.1f}" for each in found.values())])
    print(table.markdown(["operation", *(f"{name}, ms" for name in found)], rows))


def training_step(name, arch, normalization):
    network = step.NETWORKS[arch]
    return MAKE[name](arch, normalization, network.batch, network.size, network.classes).repeat


def of_exports(arch, images, names):
    """Returns a dict from names to the milliseconds of a call of what they export."""
    with tempfile.TemporaryDirectory() as folder:
        inference.export(arch, folder, [])
        made = {
            name: inference_tensorflow.make(f"{folder}/{EXPORTED[name]}", images, inference.SIZES[arch])
            for name in names
        }
        return {name: milliseconds(workload.repeat) for name, workload in made.items()}


def milliseconds(repeat):
    """Returns a counter of the milliseconds that each kind of operation takes in a repeat."""
    for _ in range(2):
        repeat()
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options):
            for _ in range(STEPS):
                repeat()
        (trace,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        return operations(xplane_pb2.XSpace.FromString(trace.read_bytes()))


def operations(space):
    """Returns a counter of the milliseconds a step of each kind of operation in a trace: events are `name:kind`."""
    found = collections.Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if name and colon and kind.isidentifier() and kind not in AROUND:
                found[kind] += event.duration_ps / 1e9 / STEPS
    return found


if __name__ == "__main__":
    main()
