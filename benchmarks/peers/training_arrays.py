"""Writes the training images of a set of TensorFlow Datasets as NumPy files, for frameworks that cannot read it.

python -m benchmarks.peers.training_arrays cifar10 ~/tensorflow_datasets FOLDER
"""

import pathlib
import sys

import numpy as np

from keras_norms.data import datasets


def main(name, data_dir, folder):
    train = datasets.load(name, data_dir).train
    for part in ("images", "labels"):
        np.save(pathlib.Path(folder, f"{part}.npy"), getattr(train, part).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
