"""The defects are those of TensorFlow and of Keras on it."""

import keras

if keras.backend.backend() != "tensorflow":
    collect_ignore_glob = ["test_*.py"]
