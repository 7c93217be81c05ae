"""The machine a measurement is of."""

import concurrent.futures
import functools
import os
import pathlib
import platform
import shutil
import subprocess
import time

import numpy as np

from benchmarks.contest import entrant

# What changes which kernels a framework chooses.
FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
COPIED_BYTES = 256 * 2**20
ONEDNN = "from tensorflow.python.util import _pywrap_util_port as port; print(port.IsMklEnabled())"
GPU_COPY = """
import time, torch
x, y = (torch.ones(2**28, device="cuda") for _ in range(2))
torch.cuda.synchronize()
for _ in range(5):
    started = time.perf_counter(); y.copy_(x); torch.cuda.synchronize()
    seconds = time.perf_counter() - started
print(2 * x.nbytes / seconds)
"""


def describe(threads):
    """Returns what decides speed on this machine, as JSON values; bandwidths in bytes a second, read and written."""
    processor = cpuinfo()
    return {
        "processor": processor.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in processor.get("flags", "").split()],
        "onednn by default": onednn_by_default(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": list(gpus()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "copy bandwidth": copy_bandwidth(threads),
        "gpu copy bandwidth": gpu_copy_bandwidth(),
    }


def cpuinfo():
    """Returns what Linux says of the first processor."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


@functools.cache
def gpus():
    """Returns the names of the graphics processors."""
    if not shutil.which("nvidia-smi"):
        return ()
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return tuple(subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")[:-1])


def onednn_by_default():
    """Returns whether TensorFlow uses oneDNN where its environment says nothing, or `None` without TensorFlow."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    return {"True": True, "False": False}.get(said("tensorflow", ONEDNN, environment))


def gpu_copy_bandwidth():
    """Returns bytes a second of a copy on the first GPU, or `None` where there is none, or no PyTorch to ask it."""
    return float(said("backends", GPU_COPY) or 0) or None if gpus() else None


def said(interpreter, program, environment=None):
    """Returns what a Python program prints last, or the empty string where it fails."""
    command = [entrant.interpreter(interpreter), "-c", program]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else ""


def copy_bandwidth(threads, repeats=7):
    """Returns the bytes a second that all threads together read and write at most when they copy an array."""
    source, target = (np.ones(COPIED_BYTES // 4, "float32") for _ in range(2))
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    fastest = np.inf
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            started = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))
            fastest = min(fastest, time.perf_counter() - started)
    return 2 * COPIED_BYTES / fastest
