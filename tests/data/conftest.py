"""A small set of images that can be told apart, held in memory or streamed from files."""

import itertools

import numpy as np
import pytest

from keras_norms.data import datasets
from keras_norms.data.in_memory import InMemory
from keras_norms.data.streamed import Streamed
from tests.data import record_files


@pytest.fixture
def made(tmp_path):
    """Returns a function that makes a data set whose train and test images start with the same ones."""
    counter = itertools.count()

    def make(shapes=((8, 8),) * 20, channels=3, same=True, test=5, files=4):
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (*shape, channels), "uint8") for shape in shapes]
        labels = np.arange(len(images)) % 4
        folder = tmp_path / str(next(counter))

        def split(name, count):
            if same:
                return InMemory(np.stack(images[:count]), labels[:count])
            records = [record_files.record(record_files.png(images[i]), labels[i]) for i in range(count)]
            lengths = [len(part) for part in np.array_split(range(count), files)]
            shape = (None, None, channels)
            return Streamed(record_files.stored(folder, records, lengths, shape, 4, name))

        size = shapes[0] if same else (None, None)
        sources = split("train", len(images)), split("test", test)
        return datasets.Dataset("made", tuple("abcd"), (*size, channels), *sources)

    return make
