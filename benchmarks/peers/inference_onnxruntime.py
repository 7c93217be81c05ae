"""An ONNX file in ONNX Runtime."""

import os

import onnxruntime

from benchmarks.contest.entrant import Workload
from benchmarks.peers import inference_images


def make(path, batch, size):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = {"image": inference_images.random(batch, size)}
    return Workload(lambda: session.run(["probabilities"], images))
