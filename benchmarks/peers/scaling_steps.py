"""Steps of chains: on several replicas, on several workers, of several widths."""

import json
import os
import socket
import subprocess
import sys
import tempfile

from benchmarks.contest.entrant import ROOT, Workload
from benchmarks.peers import scaling_chain, step_tensorflow, training_keras_norms
from keras_norms import recipes, training

SIZE, CLASSES = 16, 10
CHAIN = {"channels": 16, "layers": 4}


def make_replicas(replicas, steps):
    """A run on parts of the CPU. A repeat makes so many steps of one global batch, cut into as many parts."""
    with tempfile.TemporaryDirectory() as folder:
        made = chain_run(folder, replicas)
    return Workload(lambda: made.advance(steps))


def chain_run(folder, replicas=None):
    """Returns the `training_keras_norms.Steps` of a chain, with the embedded data set."""
    recipe = recipes.BASELINES[scaling_chain.add(**CHAIN)]
    return training_keras_norms.Steps(training.Settings(recipe, replicas=replicas, workdir=f"{folder}/run"))


def make_workers(workers, steps):
    """A run of several processes. A repeat makes so many steps of one global batch, shared out among them."""
    processes = [started(number, ports) for ports in [free_ports(workers)] for number in range(workers)]

    def repeat():
        for process in processes:
            print(steps, file=process.stdin, flush=True)
        for process in processes:
            if not process.stdout.readline():
                raise RuntimeError(f"A worker ended with status {process.wait()}.")

    return Workload(repeat)


def started(number, ports):
    """Returns the process of a worker of those that listen at some ports; it makes steps as it is told on stdin."""
    cluster = {"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]}}
    config = json.dumps({**cluster, "task": {"type": "worker", "index": number}})
    command = [sys.executable, "-m", "benchmarks.peers.scaling_worker"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TF_CONFIG": config}, **pipes)


def free_ports(count):
    """Returns ports of this machine that nothing listens at."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def make_channels(channels, batch):
    """A step of a chain of so many channels, on a fixed batch."""
    arch = scaling_chain.add(channels, CHAIN["layers"])
    return step_tensorflow.make_keras_norms(arch, "batch_norm_before", batch, SIZE, CLASSES)
