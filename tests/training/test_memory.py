import math
import pathlib
import re
import resource
import subprocess
import sys
import types

import keras
import psutil
import pytest
import tensorflow as tf

import keras_norms
from keras_norms.training import memory

# Of the network below. A convolution, its normalization and its activation, pooling, and a classifier.
GRADIENTS = 4 * (3 * 3 * 3 * 8 + 2 * 8 + 8 * 8 * 8 * 10 + 10)
IMAGES, CONVOLVED, ACTIVATED, POOLED = 16 * 16 * 3, 16 * 16 * 8, 16 * 16 * 8, 8 * 8 * 8


def network():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(8, 3, padding="same", use_bias=False),
            keras_norms.BatchNorm(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


@pytest.fixture
def model():
    return network()


def test_needed_is_gradients_and_what_the_backward_pass_asks_for(model):
    assert memory.needed(model, 0) == GRADIENTS
    per_image = 4 * (IMAGES + CONVOLVED + ACTIVATED + POOLED)
    assert memory.needed(model, 7) == GRADIENTS + 7 * per_image


def test_half_precision_needs_half_for_what_is_kept():
    keras.config.set_dtype_policy("mixed_bfloat16")
    per_image = 4 * IMAGES + 2 * (CONVOLVED + ACTIVATED + POOLED)
    assert memory.needed(network(), 7) == GRADIENTS + 7 * per_image


def test_branches_are_counted_once_and_their_concatenation_too():
    images = keras.Input((4, 4, 2))
    branches = [keras.layers.Conv2D(channels, 1, activation="relu", use_bias=False)(images) for channels in (3, 5)]
    joined = keras.layers.Concatenate()(branches)
    model = keras.Model(images, keras.layers.Conv2D(1, 1, use_bias=False)(joined))
    assert memory.needed(model, 1) == 4 * (2 * 3 + 2 * 5 + 8) + 4 * 16 * (2 + 3 + 5 + 8)


@pytest.mark.parametrize(
    ("replicas", "micro_batches", "workers", "together", "share"),
    [(1, 1, 1, 1, 100), (2, 1, 1, 2, 50), (3, 1, 1, 3, 34), (2, 4, 1, 2, 13), (2, 1, 2, 1, 50), (4, 1, 2, 2, 25)],
)
def test_what_is_needed_is_refused_from_the_first_byte_that_lacks(
    model, replicas, micro_batches, workers, together, share
):
    per_image = memory.needed(model, 1) - memory.needed(model, 0)
    least = together * (GRADIENTS + share * per_image)
    memory.check(model, 100, replicas, least, micro_batches, workers)
    with pytest.raises(ValueError, match=r"`batch_size` must fit into memory.*Received: batch_size=100"):
        memory.check(model, 100, replicas, least - 1, micro_batches, workers)


def advised(message):
    batch_size, parts = re.search(r"--batch_size=(\d+), or --micro_batches=(\d+)", message).groups()
    return int(batch_size), int(parts)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("available", [300e6, 700e6, 2e9])
def test_the_advice_fits_with_room_for_all_that_was_measured(model, replicas, available):
    available = replicas * available
    with pytest.raises(ValueError, match="GB are available") as caught:
        memory.check(model, 10**6, replicas, available)
    batch_size, parts = advised(str(caught.value))
    for share in (batch_size / replicas, math.ceil(math.ceil(10**6 / replicas) / parts)):
        most = 2.2 * memory.needed(model, share) + 250e6
        assert available / 4 < replicas * most <= available
    assert math.log2(batch_size // replicas).is_integer()


def test_the_advice_leaves_room_for_gradients():
    wide = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(40_000)])
    with pytest.raises(ValueError, match="GB are available") as caught:
        memory.check(wide, 10**6, 1, 10**9)
    batch_size, _ = advised(str(caught.value))
    assert 2.2 * memory.needed(wide, batch_size) + 250e6 <= 10**9


def test_where_no_image_fits_no_batch_is_advised(model):
    with pytest.raises(ValueError, match="No batch fits"):
        memory.check(model, 8, 1, 1000)


@pytest.mark.parametrize(
    "cause",
    ["OOM when allocating tensor with shape[96,8] on CPU", "Out of memory while trying to allocate 1.54GiB."],
    ids=["plain", "XLA"],
)
def test_a_failed_step_is_explained_with_a_batch_that_is_smaller_at_least_by_half(model, cause):
    error = tf.errors.ResourceExhaustedError(None, None, f"Graph execution error:\n\n{cause}\n\t [[{{{{node}}}}]]")
    explained = memory.explained(error, model, 192, 2, 10**12)
    assert isinstance(explained, RuntimeError)
    assert advised(str(explained)) == (2 * 32, 3)
    assert str(explained).endswith(f"TensorFlow: {cause}")
    assert "No batch fits" in str(memory.explained(error, model, 1, 1, 10**12))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 10**10 bytes, no control groups and no limits."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=10**10))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUPS", tmp_path / "own")
    return tmp_path


def group(folder, **content):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_available_is_what_the_system_has(machine):
    assert memory.available() == 10**10


def test_available_is_what_a_group_or_one_above_it_leaves(machine):
    (machine / "own").write_text("0::/slice/job\n")
    job, above = machine / "slice" / "job", machine / "slice"
    group(job, memory__max="max", memory__current=5000, memory__stat="anon 1\ninactive_file 100")
    assert memory.available() == 10**10
    group(above, memory__max=9000, memory__current=6000, memory__stat="anon 1\ninactive_file 300\nactive_file 7")
    assert memory.available() == 9000 - (6000 - 300)
    group(job, memory__max=5500)
    assert memory.available() == 5500 - (5000 - 100)
    group(job, memory__max=1000)  # a limit that was lowered
    assert memory.available() == 0


def test_available_knows_the_first_version_of_groups(machine):
    (machine / "own").write_text("9:name=systemd:/\n5:cpu,memory:/docker/abc\n1:cpu:/other\n0::/\n")
    names = ("memory__limit_in_bytes", "memory__usage_in_bytes", "memory__stat")
    # In a container the group's own folder is the root of what it sees.
    group(machine / "memory", **dict(zip(names, (8000, 5000, "total_inactive_file 200\ninactive_file 1"), strict=True)))
    assert memory.available() == 8000 - (5000 - 200)
    group(machine / "memory" / "docker" / "abc", **dict(zip(names, (4000, 1000, "total_inactive_file 0"), strict=True)))
    assert memory.available() == 3000


def test_available_is_what_the_limit_of_address_space_leaves(machine, monkeypatch):
    used = psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda which: (used + 10**9,) * 2)
    assert memory.available() == pytest.approx(10**9, abs=10**8)


def test_gpus_are_asked_where_there_are_some(machine, monkeypatch, model):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["first", "second"])
    limits = {"/device:CPU:0": 10, "/device:GPU:0": 9000, "/device:GPU:1": 8000}
    devices = [types.SimpleNamespace(name=name, memory_limit=limit) for name, limit in limits.items()]
    monkeypatch.setattr(memory.device_lib, "list_local_devices", lambda: devices)
    used = {"GPU:0": {"current": 4000, "peak": 1}, "GPU:1": {"current": 2000, "peak": 1}}
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", used.get)
    assert memory.available() == 5000
    assert memory.on_devices() == 6000
    # Each replica has a memory of its own.
    memory.check(model, 100, 2, memory.needed(model, 50))


_PROGRAM = """
import pathlib
import re
import resource

import keras
import psutil
import tensorflow as tf

import keras_norms
from keras_norms.training import memory


def stepping(*layers):
    model = keras.Sequential([keras.Input((32, 32, 8)), *layers])

    @tf.function(reduce_retracing=True)
    def step(images):
        trainable = [tf.convert_to_tensor(v) for v in model.trainable_variables]
        other = [tf.convert_to_tensor(v) for v in model.non_trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(trainable)
            loss = tf.reduce_sum(model.stateless_call(trainable, other, images, training=True)[0])
        return loss, tape.gradient(loss, trainable)

    for batch_size in (2, 3):
        step(tf.zeros((batch_size, 32, 32, 8)))
    return model, step
"""

_FITS = (
    _PROGRAM
    + """
def block():
    return keras.layers.Conv2D(32, 3, padding="same"), keras_norms.BatchNorm(), keras.layers.ReLU()


model, step = stepping(*block(), *block(), *block(), keras.layers.Dense(1))
before = memory.resident()
float(step(tf.zeros((256, 32, 32, 8)))[0])
# Not getrusage, which counts what the process that started this one held.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
grown = int(peak) * 1024 - before
needed = memory.needed(model, 256)
assert 2e8 < needed <= grown <= 2.2 * needed + 250e6, (needed, grown)
"""
)

# What fails first is the allocation of a tensor that is larger than what is left. Of convolutions with oneDNN it is one
# of their own, and ends the process.
_FAILS = (
    _PROGRAM
    + """
model, step = stepping(keras.layers.ZeroPadding2D(112), keras.layers.Dense(1))
images = tf.zeros((512, 32, 32, 8))
limit = psutil.Process().memory_info().vms + 300_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
available = memory.available()
try:
    step(images)  # TensorFlow tries again for 10 seconds
except tf.errors.ResourceExhaustedError as error:
    print(memory.explained(error, model, 512, 1, available))
"""
)


def run(program):
    root = pathlib.Path(keras_norms.__file__).parents[1]
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)


def test_a_real_step_takes_no_less_than_is_needed_and_no_more_than_is_advised():
    result = run(_FITS)
    assert result.returncode == 0, result.stderr


def test_a_real_step_without_its_memory_is_explained():
    result = run(_FAILS)
    assert result.returncode == 0, result.stderr
    expected = (
        r"A step of 512 images.*did not get its memory; 0\.\d\d GB.*\. TensorFlow: OOM when allocating tensor with"
    )
    assert re.match(expected, result.stdout)
