"""Numbers that are none, bad records, two runs in one folder, too little memory: one line each, and nothing lost."""

import json
import pathlib
import re
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.faults import processes, runs

LIMITED = pathlib.Path(__file__).parent / "limited.py"
DIVERGING = (
    "--arch=small", "--normalization=none", "--activation=linear", "--learning_rate=3", "--schedule=constant",
    "--steps=60",
)  # fmt: skip


@pytest.mark.parametrize("flags", [(), ("--replicas=2", "--xla=on", "--checkpoint_minutes=1e-6")])
def test_diverging_run_names_the_layer_and_keeps_its_last_good_checkpoint(flags, tmp_path):
    run = runs.Run(tmp_path, (*DIVERGING, *flags))
    told = run.fail()
    step = int(re.search(r"became no number in step (\d+)", told)[1])
    assert step > 3
    assert re.search(r"The first place that shows it: .*'(conv1|conv2|main|pool)", told)
    assert "--learning_rate" in told
    assert run.step() == (step - 1 if flags else 0)
    reader = tf.train.load_checkpoint(str(run.checkpoints / f"ckpt-{run.step()}"))
    values = [reader.get_tensor(name) for name in reader.get_variable_to_shape_map()]
    assert all(np.isfinite(value).all() for value in values if getattr(value, "dtype", None) == np.float32)


def training_file(folder):
    (file,) = folder.glob("cifar10/*/cifar10-train.tfrecord*")
    return file


def harm(folder, index):
    """Gives a training record of CIFAR-10 a label that is no class."""
    file = training_file(folder)
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(file))]
    example = tf.train.Example.FromString(records[index])
    example.features.feature["label"].int64_list.value[0] = 10
    records[index] = example.SerializeToString()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)


def test_damaged_byte_in_a_set_that_is_held(cifar10, tmp_path):
    file = training_file(cifar10)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    flags = ("--arch=resnet20", "--dataset=cifar10", f"--data_dir={cifar10}", "--steps=2")
    run = runs.Run(tmp_path, flags, processes.DRIVER)
    told = run.fail()
    assert re.search(r"Record 1\d\d\d of the split 'train' of the data set 'cifar10' is bad", told)
    assert not run.workdir.exists()
    assert not list((tmp_path / "saved_models").glob("*"))


def test_bad_records_of_a_streamed_set_in_the_midst_of_training(cifar10, tmp_path):
    harm(cifar10, 2300)
    harm(cifar10, 2400)
    flags = (
        "--arch=small", "--dataset=cifar10", f"--data_dir={cifar10}", "--image_size=28", "--batch_size=32",
        "--epochs=1", "--checkpoint_minutes=1e-6",
    )  # fmt: skip
    run = runs.Run(tmp_path / "refused", flags)
    told = run.fail()
    assert "Record 2300 of the split 'train' of the data set 'cifar10' is bad: its label is 10" in told
    assert "the first of 2 bad records" in told
    assert "--skip_bad_records" in told
    assert 0 < run.step() < 80
    assert not (run.workdir / "result.json").exists()
    skipping = runs.Run(tmp_path / "skipped", (*flags, "--skip_bad_records"))
    assert "2 bad records of `train` left out" in skipping.finish().out
    assert json.loads((skipping.workdir / "result.json").read_text())["bad_records"] == {"train": 2, "test": 0}
    assert skipping.step() == 2558 // 32


def test_two_runs_in_one_folder(undisturbed, tmp_path):
    run = runs.Run(tmp_path, runs.FLAGS)
    first = run.start()
    run.wait(first)
    first.send(signal.SIGSTOP)  # it must not end meanwhile
    told = run.fail()
    first.send(signal.SIGCONT)
    assert re.fullmatch(r"process \d+ on .+\n", (run.workdir / "lock").read_text())
    assert (run.workdir / "lock").read_text().strip() in told
    assert "must not be in use by another run" in told
    assert first.end(300) == 0, first.err
    runs.assert_equal(run, undisturbed)


def test_batch_that_does_not_fit_and_the_one_that_is_told_in_its_place(tmp_path):
    flags = ("--arch=resnet20", "--normalization=batch_norm_before", "--steps=1", "--nodrop_remainder")
    limited = runs.Run(tmp_path, flags, program=LIMITED)
    told = limited.fail("--batch_size=10000")
    assert "`batch_size` must fit into memory" in told
    fitting = re.search(r"--batch_size=(\d+)", told)[0]
    assert not limited.workdir.exists()
    limited.finish(fitting)
