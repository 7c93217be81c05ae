"""Writes nets in the format of Caffe, and what OpenCV 4, which reads them by itself, makes of an image.

pip install 'opencv-python-headless<5'    # OpenCV 5 reads no Caffe nets
python tests/golden/caffe.py              # writes caffe_net.caffemodel, caffe_2014.caffemodel and caffe.json

The bytes are put together here, after `caffe.proto` and the encoding of protocol buffers, without any code of the
package.
"""

import json
import pathlib
import struct

import numpy as np

FOLDER = pathlib.Path(__file__).parent


def varint(number):
    """Returns an integer of at least 0, seven bits a byte."""
    parts = [number & 127]
    while number := number >> 7:
        parts[-1] |= 128
        parts.append(number & 127)
    return bytes(parts)


def field(number, value):
    """Returns a field of a message: an integer, a float, a string, the bytes of a message, or a list of these."""
    if isinstance(value, list):
        return b"".join(field(number, item) for item in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(fields):
    """Returns a message of a dict from the numbers of its fields to their values."""
    return b"".join(field(number, value) for number, value in fields.items())


def blob(array):
    array = np.asarray(array)
    shape = message({1: b"".join(map(varint, array.shape))})
    # 5 are floats, 8 doubles.
    double = array.dtype == "float64"
    return message({7: shape, 8 if double else 5: array.astype("<f8" if double else "<f4").tobytes()})


def blob_of_2014(array):
    """Returns a blob of the time when all had four axes."""
    array = np.asarray(array, "float32")
    shape = (1,) * (4 - array.ndim) + array.shape
    return message({**dict(enumerate(shape, start=1)), 5: array.astype("<f4").tobytes()})


def layer(name, kind, bottom, top, blobs=(), parameters=None):
    """Returns a layer. `parameters` is a dict from the number of the message of its settings to these."""
    settings = {number: message(fields) for number, fields in (parameters or {}).items()}
    return message({1: name, 2: kind, 3: [bottom], 4: [top], 7: [blob(b) for b in blobs], **settings})


def layer_of_2014(name, kind, bottom, top, blobs=()):
    """Returns a layer of the time when their kinds were numbers."""
    return message({2: [bottom], 3: [top], 4: name, 5: kind, 6: [blob_of_2014(b) for b in blobs]})


def net(layers):
    return message({1: "net", 100: layers})


def net_of_2014(layers):
    return message({1: "net", 2: layers})


def drawn(*shape, low=-1.0, high=1.0, seed=0):
    return np.random.default_rng((seed, *shape)).uniform(low, high, shape).astype("float32")


def sums(channels, factor, seed):
    """Returns the three blobs of a batch norm, with a factor that is far from 1."""
    mean, variance = drawn(channels, seed=seed), drawn(channels, low=0.3, high=3, seed=seed)
    return [mean * factor, variance * factor, np.array([factor], "float32")]


BATCH_NORM, CONVOLUTION, SCALE = 139, 106, 142
NO_BIAS = {2: 0}


def layers():
    return [
        layer("conv1", "Convolution", "data", "conv1", [drawn(6, 3, 3, 3)], {CONVOLUTION: NO_BIAS}),
        layer("norm1", "BatchNorm", "conv1", "conv1", sums(6, 17.43, 1), {BATCH_NORM: {2: 0.95, 3: 0.02}}),
        layer("scale1", "Scale", "conv1", "conv1", [drawn(6, seed=2), drawn(6, seed=3)], {SCALE: {4: 1}}),
        layer("relu1", "ReLU", "conv1", "conv1"),
        layer("pool1", "Pooling", "conv1", "pool1"),
        layer("conv2", "Convolution", "pool1", "conv2", [drawn(4, 3, 3, 3), drawn(4)]),
        layer("norm2", "BatchNorm", "conv2", "norm2", sums(4, 999.95, 2)),
        layer("relu2", "ReLU", "norm2", "norm2"),
        layer("up", "Deconvolution", "norm2", "up", [drawn(4, 5, 2, 3), drawn(5, seed=4)]),
        layer("norm3", "BatchNorm", "up", "up", sums(5, 1.0, 3)),
        layer("scale3", "Scale", "up", "up", [drawn(5, seed=5)]),
        layer("fc1", "InnerProduct", "up", "fc1", [drawn(7, 150, low=-0.2, high=0.2), drawn(7)]),
        layer("fc2", "InnerProduct", "fc1", "fc2", [drawn(3, 7), drawn(3)]),
    ]


PROTOTXT = """
name: "net" input: "data" input_dim: 2 input_dim: 3 input_dim: 10 input_dim: 8
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "norm1" type: "BatchNorm" bottom: "conv1" top: "conv1"
  batch_norm_param { moving_average_fraction: 0.95 eps: 0.02 } }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 4 kernel_size: 3 group: 2 } }
layer { name: "norm2" type: "BatchNorm" bottom: "conv2" top: "norm2" }
layer { name: "relu2" type: "ReLU" bottom: "norm2" top: "norm2" }
layer { name: "up" type: "Deconvolution" bottom: "norm2" top: "up"
  convolution_param { num_output: 5 kernel_h: 2 kernel_w: 3 stride: 2 } }
layer { name: "norm3" type: "BatchNorm" bottom: "up" top: "up" }
layer { name: "scale3" type: "Scale" bottom: "up" top: "up" }
layer { name: "fc1" type: "InnerProduct" bottom: "up" top: "fc1" inner_product_param { num_output: 7 } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2" inner_product_param { num_output: 3 } }
"""


def layers_of_2014():
    return [
        layer_of_2014("conv1", 4, "data", "conv1", [drawn(6, 3, 3, 3), drawn(6)]),
        layer_of_2014("relu1", 18, "conv1", "conv1"),
        layer_of_2014("fc1", 14, "conv1", "fc1", [drawn(4, 288, low=-0.2, high=0.2), drawn(4)]),
    ]


PROTOTXT_OF_2014 = """
name: "net" input: "data" input_dim: 2 input_dim: 3 input_dim: 10 input_dim: 8
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "fc1" type: INNER_PRODUCT bottom: "conv1" top: "fc1" inner_product_param { num_output: 4 } }
"""


def image():
    return drawn(2, 3, 10, 8, low=-2, high=3, seed=9)


def output(weights, prototxt):
    """Returns what OpenCV makes of the image."""
    import cv2

    read = cv2.dnn.readNetFromCaffe(np.frombuffer(prototxt.encode(), "uint8"), np.frombuffer(weights, "uint8"))
    # Otherwise OpenCV folds the norms.
    read.enableFusion(False)
    read.setInput(image())
    return read.forward().tolist()


def main():
    nets = {
        "caffe_net": (net(layers()), PROTOTXT),
        "caffe_2014": (net_of_2014(layers_of_2014()), PROTOTXT_OF_2014),
    }
    outputs = {"origin": "tests/golden/caffe.py, OpenCV 4.14", "image": image().tolist()}
    for name, (weights, prototxt) in nets.items():
        (FOLDER / f"{name}.caffemodel").write_bytes(weights)
        outputs[name] = output(weights, prototxt)
    (FOLDER / "caffe.json").write_text(json.dumps(outputs) + "\n")


if __name__ == "__main__":
    main()
