"""Measures training end to end, from a data set's files to updated weights: images a second, and the wait for data.

    python -m benchmarks.training
    python -m benchmarks.training --data_dir ~/tensorflow_datasets --cases cifar10 --quick

Random crops of padded images, half of them mirrored. Entrants: the loop of `keras_norms.training` with its pipeline,
which works on whole batches; `keras.Model.fit` with tf.data code that maps one image at a time, with oneDNN and in
TensorFlow's default environment; a PyTorch DataLoader, with or without processes that load, whatever is faster here.
A repeat begins with steps that do not count: they use up what was fetched ahead. The share of a step that is spent
waiting for data is known of our loop and of PyTorch's; `fit` asks for data inside the graph.
"""

import pathlib
import subprocess
import tempfile

from benchmarks.contest import entrant, interleaved, options, results
from benchmarks.peers import training_turns

UNITS = {"images per second": "images/s", "waiting share": "1"}
# Data set, network, images in a step, steps that count in a repeat.
CASES = {
    "cifar10, resnet20, batch 128": ("cifar10", "resnet20", 128, 20),
    "imagenette128, caffenet128, batch 64": ("imagenette128", "caffenet128", 64, 10),
}
ROUNDS = 3
QUICK = {"cifar10, resnet20, batch 128": ("cifar10", "resnet20", 128, 6)}
QUICK_ROUNDS = 2


def main(arguments=None):
    parser = options.parser(__doc__)
    parser.add_argument("--data_dir", default="~/tensorflow_datasets", help="the folder of TensorFlow Datasets")
    given = options.parse(parser, arguments)
    cases = QUICK if given.quick else CASES
    names = options.chosen(cases, given.cases)
    data_dir = prepared(given.data_dir, {cases[name][0] for name in names})
    record = results.new("training", given)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            measure(record, name, cases[name], data_dir, folder, given)
        print(results.line(record, name, "images per second"), flush=True)
    print(results.write(record, given.out))


def prepared(data_dir, datasets):
    """Returns the path of the folder of data sets, or ends the program where one of them is missing."""
    folder = pathlib.Path(data_dir).expanduser()
    for dataset in sorted(datasets):
        if not (folder / dataset).is_dir():
            raise SystemExit(
                f"The data set {dataset!r} was not found in {folder}. Prepare it there with shared/data/prepare_tfds.py"
                ", or name the folder where it is with --data_dir."
            )
    return str(folder)


def measure(record, case, what, data_dir, folder, given):
    """Adds the images a second of all chosen entrants in a case."""
    files = {name: f"{folder}/{number}.jsonl" for number, name in enumerate(ENTRANTS)}
    chosen = options.chosen(QUICK_ENTRANTS if given.quick else ENTRANTS, given.entrants)
    if entrant.DEFAULT in chosen and what[0] != "cifar10" and record["machine"]["onednn by default"]:
        results.absent(record, case, entrant.DEFAULT, "as keras, for oneDNN is on by default here")
        chosen.remove(entrant.DEFAULT)
    entrants = [ENTRANTS[name](name, *what, data_dir, folder, files[name]) for name in chosen]
    rounds = QUICK_ROUNDS if given.quick else ROUNDS
    for name, measured in interleaved.measure(entrants, rounds, threads=given.threads).items():
        for quantity, values in training_turns.read(files[name]).items():
            results.add(record, case, name, quantity, UNITS[quantity], values)
        for quantity, value in measured.facts.items():
            results.add(record, case, name, quantity, "1", [value])
        if measured.failed:
            results.absent(record, case, name, measured.failed)


def of_keras_norms(name, dataset, arch, batch, steps, data_dir, folder, path):
    arguments = {"arch": arch, "dataset": dataset, "batch": batch, "data_dir": data_dir, "steps": steps, "path": path}
    arguments["folder"] = f"{folder}/run"
    environment = {"TF_ENABLE_ONEDNN_OPTS": "1"}
    return entrant.Entrant(name, "benchmarks.peers.training_keras_norms:make", arguments, environment)


def of_keras(name, dataset, arch, batch, steps, data_dir, folder, path):
    arguments = {"arch": arch, "dataset": dataset, "batch": batch, "data_dir": data_dir, "steps": steps, "path": path}
    return entrant.Entrant(name, "benchmarks.peers.training_keras:make", arguments, entrant.onednn(name))


def of_torch(name, dataset, arch, batch, steps, data_dir, folder, path):
    python = entrant.interpreter("tensorflow")
    command = [python, "-m", "benchmarks.peers.training_arrays", dataset, data_dir, folder]
    subprocess.run(command, cwd=entrant.ROOT, check=True)
    arguments = {"arch": arch, "batch": batch, "folder": folder, "steps": steps, "path": path}
    return entrant.Entrant(name, "benchmarks.peers.training_torch:make", arguments, interpreter="backends")


ENTRANTS = {
    "keras_norms": of_keras_norms,
    "keras": of_keras,
    entrant.DEFAULT: of_keras,
    "torch": of_torch,
}
QUICK_ENTRANTS = ["keras_norms", "keras", "torch"]


if __name__ == "__main__":
    main()
