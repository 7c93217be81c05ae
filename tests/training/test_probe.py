"""A run that a probe looks into."""

import csv
import dataclasses

import numpy as np
import pytest

from keras_norms import probe, training
from tests.training import test_run


def probed(settings, every=2, **options):
    return dataclasses.replace(settings(**options), probe_every=every)


def readings(folder):
    return [tuple(row.values()) for row in probe.read(folder / "probe" / "probe.csv")]


def test_looks_at_the_network_and_changes_no_bit_of_the_result(settings):
    plain = training.Run(settings("plain", dropout=0.3)).train()
    made = probed(settings, workdir="probed", dropout=0.3)
    looked = training.Run(made).train()
    for ours, theirs in zip(looked.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    folder = made.folder / "probe"
    assert {path.name for path in folder.iterdir()} == {"probe.csv", "channels.csv", "probe.png", "tensorboard"}
    rows = probe.read(folder / "probe.csv")
    assert sorted({row["step"] for row in rows}) == [0, 2, 4, 6]
    # The auxiliary head is part of what is minimized.
    gradients = {row["weight"]: row["value"] for row in rows if row["quantity"] == "gradient_norm" and row["step"]}
    assert {name.split("/")[0] for name, value in gradients.items() if value > 0} >= {"main", "aux", "conv1"}
    # Main and auxiliary cross-entropy of ten classes, the latter times 0.3.
    (loss,) = [row["value"] for row in rows if row["quantity"] == "loss" and row["step"] == 0]
    assert loss == pytest.approx(1.3 * np.log(10), rel=0.3)


def test_interrupted_run_has_the_readings_of_the_uninterrupted_one(settings):
    whole = probed(settings, workdir="whole")
    training.Run(whole).train()
    broken = probed(settings, workdir="broken")
    with pytest.raises(training.Interrupted):
        test_run.losses(broken, interrupt_after=3)
    training.Run(broken).train()
    assert readings(broken.folder) == readings(whole.folder)
    with open(whole.folder / "probe" / "channels.csv") as file:
        assert sorted({int(row["step"]) for row in csv.DictReader(file)}) == [0, 2, 4, 6]


def test_run_on_replicas_in_bfloat16_goes_on_with_another_probe(settings):
    options = {"replicas": 2, "precision": "mixed_bfloat16"}
    with pytest.raises(training.Interrupted):
        test_run.losses(probed(settings, **options), interrupt_after=3)
    made = probed(settings, every=1, **options)
    training.Run(made).train()
    rows = readings(made.folder)
    assert sorted({step for step, *_ in rows}) == [0, 2, 3, 4, 5, 6]
    assert np.isfinite([value for *_, value in rows]).all()


def test_a_negative_number_is_an_error(settings):
    with pytest.raises(ValueError, match="`probe_every` must be at least 0"):
        training.Run(probed(settings, every=-1))
