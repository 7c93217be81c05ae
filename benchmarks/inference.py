"""Measures what is exported: the seconds of a call with 1 image and with 32, and the bytes on disk.

    python -m benchmarks.inference
    python -m benchmarks.inference --quick --cases resnet20

Entrants: the SavedModel of `keras_norms.export`, folded as it is written, and the same not folded; the SavedModel that
stock `keras.Model.export` writes of the same network of stock layers; the folded one in OpenVINO, and in ONNX Runtime.
Networks have batch norm, with moving statistics of some batches. Of GoogLeNet the main classifier is exported alone.

Ours take pixels, normalize them, and return probabilities with the names of the most probable classes; in OpenVINO and
ONNX Runtime the probabilities alone. The stock one takes the same numbers as they are, and returns logits.
"""

import pathlib
import subprocess
import tempfile

from benchmarks.contest import entrant, interleaved, options, results

SIZES = {"resnet20": 32, "googlenet128": 128}
BATCHES = (1, 32)
ROUNDS, LEAST_SECONDS = 21, 0.2
QUICK_ROUNDS, QUICK_LEAST_SECONDS = 5, 0.1
# The modules of the entrants, and what `inference_exports` calls what they load.
ENTRANTS = {
    "keras_norms folded": ("inference_tensorflow", "folded"),
    "keras_norms not folded": ("inference_tensorflow", "not_folded"),
    "keras export": ("inference_tensorflow", "keras"),
    "openvino": ("inference_openvino", "folded"),
    "onnxruntime": ("inference_onnxruntime", "model.onnx"),
}


def main(arguments=None):
    given = options.parse(options.parser(__doc__), arguments)
    record = results.new("inference", given)
    for arch in options.chosen(["resnet20"] if given.quick else SIZES, given.cases):
        with tempfile.TemporaryDirectory() as folder:
            names = options.chosen(ENTRANTS, given.entrants)
            if given.quick:
                names = [name for name in names if name != "onnxruntime"]  # whose file takes as long as all the rest
            export(arch, folder, names)
            for name in names:
                add_size(record, arch, name, pathlib.Path(folder, ENTRANTS[name][1]))
            for batch in BATCHES:
                measure(record, arch, batch, folder, names, given)
                print(results.line(record, arch, f"latency batch {batch}"), flush=True)
    print(results.write(record, given.out))


def export(arch, folder, names):
    """Writes what the entrants load into a folder."""
    command = [entrant.interpreter("tensorflow"), "-m", "benchmarks.peers.inference_exports", arch, folder]
    command += ["--onnx"] if "onnxruntime" in names else []
    subprocess.run(command, cwd=entrant.ROOT, check=True)


def add_size(record, arch, name, path):
    """Adds the bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    results.add(record, arch, name, "size", "B", [sum(file.stat().st_size for file in files)])


def measure(record, arch, batch, folder, names, given):
    """Adds the seconds of a call with so many images; the images a second are their number over these."""
    rounds, least = (QUICK_ROUNDS, QUICK_LEAST_SECONDS) if given.quick else (ROUNDS, LEAST_SECONDS)
    entrants = [made(name, folder, batch, SIZES[arch]) for name in names]
    for name, measured in interleaved.measure(entrants, rounds, least, given.threads).items():
        if measured.seconds:
            results.add(record, arch, name, f"latency batch {batch}", "s", measured.seconds)
        if measured.failed:
            results.absent(record, f"{arch}, batch {batch}", name, measured.failed)


def made(name, folder, batch, size):
    module, file = ENTRANTS[name]
    arguments = {"path": f"{folder}/{file}", "batch": batch, "size": size}
    return entrant.Entrant(name, f"benchmarks.peers.{module}:make", arguments, {"TF_ENABLE_ONEDNN_OPTS": "1"})


if __name__ == "__main__":
    main()
