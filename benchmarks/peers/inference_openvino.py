"""A SavedModel in OpenVINO."""

import os

import openvino

from benchmarks.contest.entrant import Workload
from benchmarks.peers import inference_images


def make(path, batch, size):
    threads = {"INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"]), "PERFORMANCE_HINT": "LATENCY"}
    images = inference_images.random(batch, size)
    model = openvino.convert_model(path, input=("image", list(images.shape)), output=["probabilities"])
    compiled = openvino.compile_model(model, "CPU", threads)
    request = compiled.create_infer_request()
    return Workload(lambda: request.infer(images))
