"""Shared fixtures. TensorFlow sees two CPU devices, so that replicas can be tested on any machine."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import pytest

# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

if keras.backend.backend() == "tensorflow":
    from keras_norms.training import devices

    devices.split_cpu(2)


@pytest.fixture
def hostile():
    """Returns a function of a shape and a channel axis: normal numbers, each channel with a mean and a spread of its
    own, far from 0 and 1 and from those of the other channels."""

    def make(shape, axis=-1, seed=0):
        rng = np.random.default_rng(seed)
        channels = shape[axis]
        stretch = np.geomspace(0.05, 20, channels)[rng.permutation(channels)]
        centre = np.linspace(-30, 50, channels)
        along = [1] * len(shape)
        along[axis] = channels
        x = rng.normal(size=shape) * stretch.reshape(along) + centre.reshape(along)
        return x.astype("float32")

    return make


@pytest.fixture(scope="session")
def strategy():
    """Two replicas on the CPU."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("replicas are those of TensorFlow")
    return devices.strategy(2)


@pytest.fixture(autouse=True)
def fresh_session():
    """Every test starts with the float32 policy and the same random state."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
