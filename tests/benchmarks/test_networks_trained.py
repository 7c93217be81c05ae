"""Every entrant of benchmarks/step.py trains, and the quick run has cases of the full one."""

import argparse
import importlib
import importlib.util

import keras
import pytest

from benchmarks import step
from benchmarks.contest import machine
from benchmarks.peers import step_batch

OPTIONS = argparse.Namespace(batch_factor=1, dtype="float32")
SMALL = {"batch": 2, "size": 8, "classes": 10}
# The backends that the modules of the peers run on; PyTorch alone runs beside any.
BACKENDS = {"step_tensorflow": "tensorflow", "step_jax": "jax"}


@pytest.mark.parametrize("name", ["keras_norms", "keras", "keras_norms on jax", "keras on jax", "torch"])
def test_a_step_is_made(name):
    entrant = step.entrant(name, "resnet20", "batch_norm_before", OPTIONS)
    module, function = entrant.make.split(":")
    backend = BACKENDS.get(module.rpartition(".")[2])
    if backend not in (None, keras.backend.backend()):
        pytest.skip(f"the backend is not {backend}")
    if backend is None and not importlib.util.find_spec("torch"):
        pytest.skip("PyTorch is not installed")
    workload = getattr(importlib.import_module(module), function)(**entrant.arguments | SMALL)
    workload.repeat()
    workload.repeat()


def test_a_loss_that_is_no_number_is_refused():
    with pytest.raises(FloatingPointError, match="nan"):
        step_batch.check(float("nan"))


@pytest.mark.parametrize("gpus", [(), ("H100",)])
def test_names_are_of_one_process_each(gpus, monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: gpus)
    for arch in step.NETWORKS:
        contest = step.contest(arch, quick=False)
        names = [step.entrant(name, arch, normalization, OPTIONS).name for normalization, name in contest]
        assert len(set(names)) == len(names)
        assert {normalization for normalization, _ in contest} == set(step.NORMALIZATIONS)


def test_quick_cases_are_those_of_the_full_run(monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: ())
    for arch, network in step.NETWORKS.items():
        if network.quick_rounds:
            assert set(step.contest(arch, quick=True)) < set(step.contest(arch, quick=False))
