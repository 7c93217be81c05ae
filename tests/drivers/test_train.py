"""The driver as a command: two steps, once more, interrupted, and with wrong words."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.drivers import forked

DRIVER = pathlib.Path(__file__).parents[2] / "drivers" / "train.py"


def flags(tmp_path, *arguments):
    fast = ["--arch=resnet20", "--image_size=16", "--steps=2", "--batch_size=8"]
    return [*fast, f"--workdir={tmp_path / 'run'}", f"--export_dir={tmp_path / 'saved_models'}", *arguments]


def command(tmp_path, *arguments):
    return [sys.executable, DRIVER, *flags(tmp_path, *arguments)]


def train(tmp_path, *arguments):
    return forked.run("train.py", flags(tmp_path, *arguments), tmp_path)


def test_trains_exports_and_does_not_repeat_itself(tmp_path):
    # Not the log level of the tests: the driver chooses its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    first = subprocess.run(command(tmp_path), capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    version = tmp_path / "saved_models" / "resnet20" / "1"
    assert (version / "assets" / "class_names.txt").read_text().split()[0] == "disc"
    for words in ("oneDNN", "269,722", "Test accuracy 0.", str(version), "tf.saved_model.load", "docker run"):
        assert words in first.stdout
    again = train(tmp_path)
    assert again.returncode == 0, again.stderr
    assert str(version) in again.stdout
    assert "epoch 1/1" not in again.stdout
    assert [path.name for path in version.parent.iterdir()] == ["1"]
    renamed = train(tmp_path, "--export_name=renamed")
    assert "epoch 1/1" not in renamed.stdout
    assert (tmp_path / "saved_models" / "renamed" / "1" / "saved_model.pb").exists()


def test_every_word_of_the_command_line_arrives(tmp_path):
    result = train(
        tmp_path, "--norm=batch_norm_after", "--noscale", "--nobias", "--activation=elu", "--dropout=0.5",
        "--replicas=2", "--xla=on", "--schedule=step", "--drops=0.5,0.8", "--precision=mixed_bfloat16",
        "--export_name=mine", "--seed=3", "--nocrop", "--noflip", "--learning_rate=0.01", "--probe_every=2",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    config = (tmp_path / "run" / "config.json").read_text()
    for words in (
        '"batch_norm_after"',
        '"use_scale": false',
        '"use_bias": false',
        '"elu"',
        '"replicas": 2',
        '"seed": 3',
    ):
        assert words in config
    assert (tmp_path / "saved_models" / "mine" / "1" / "saved_model.pb").exists()
    assert "probe" not in config  # it decides no result
    steps = {line.split(",")[0] for line in (tmp_path / "run" / "probe" / "probe.csv").read_text().splitlines()[1:]}
    assert steps == {"0", "2"}


def test_a_recipe_says_what_differs_from_the_published_one(tmp_path):
    given = ("--dataset=shapes", "--initialization=", "--pixel_mean=", "--options=shortcut:projection", "--export_dir=")
    result = train(tmp_path, "--recipe=caffenet128_bn_after", *given)
    assert result.returncode == 0, result.stderr
    for words in (
        "Recipe caffenet128_bn_after (", "so not the published one",
        "arch 'resnet20' (published: 'caffenet128')", "initialization None (published: 'lsuv_after_activation')",
        "pixel_mean None (published: (124.0, 117.0, 104.0))", "options (('shortcut', 'projection'),) (published: ())",
    ):  # fmt: skip
        assert words in result.stdout
    assert "SavedModel" not in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_lists_the_published_recipes(tmp_path):
    result = train(tmp_path, "--list")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("caffenet128_bn_after ")]
    for words in ("After", "top1_accuracy 0.499", "FLOPs"):
        assert words in line


def test_interrupt_keeps_what_there_is_and_says_how_to_go_on(tmp_path):
    process = subprocess.Popen(command(tmp_path, "--steps=20000"), stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    while process.poll() is None and not (tmp_path / "run" / "checkpoints" / "ckpt-0.index").exists():
        time.sleep(0.2)
    time.sleep(1)  # its first step, or a later one
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Interrupted after step" in output
    assert "the same command goes on from there" in output
    assert list((tmp_path / "run" / "checkpoints").glob("ckpt-[1-9]*.index"))
    assert not (tmp_path / "saved_models" / "resnet20").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arch=resnet21"], "`arch` must be one of"),
        (["--normalization=layer"], "`normalization` must be one of"),
        (["--activation=relux"], "`activation` must be"),
        (["--dataset=no_such_set"], "--dataset shapes"),
        (["--batch_size=0"], "`batch_size` must be at least 1"),
        (["--image_size=15"], "image_size"),
        (["--arch=caffenet128", "--image_size=38"], "at least 39 for caffenet128"),
        (["--export_dir=/proc/nowhere"], "/proc/nowhere"),
        (["--workdir=/proc/nowhere"], "/proc/nowhere"),
        (["--no_such_flag"], "no_such_flag"),
        (["--use_scale", "false"], "Received: false"),
        (["--probe_every=-1"], "`probe_every` must be at least 0"),
        (["--lr_mult=bias=2"], "`lr_mult` must have the form kind:factor"),
        (["--lr_mult=biases:2"], "`lr_mult` must name kinds of weights"),
        (["--warmup_error=0.8"], "`warmup_error` needs `warmup_rate`"),
        (["--wandb"], "pip install wandb"),
        (["--epochs=2"], "`steps` takes the place of `epochs`"),
        (["--dataset=Cifar-10"], "--dataset shapes"),
        (["--recipe=resnet_20"], "the nearest is 'resnet20'"),
        (["--arch=alexnet", "--image_size=67", "--options=fc3:2048"], "the nearest of ['fc2'] is `fc2`"),
        (["--options=shortcut"], "`options` must have the form name:value"),
        (
            ["--recipe=alexnet", "--arch=alexnet", "--dataset=shapes", "--image_size=67"],
            "one number for each of the 3 channel(s) of shapes",
        ),
    ],
)
def test_bad_input_gets_one_clear_error_and_leaves_nothing(arguments, words, tmp_path):
    result = train(tmp_path, *arguments)
    assert result.returncode not in (0, 130)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2
    assert not list((tmp_path / "run").glob("*"))
    assert not list(tmp_path.glob("saved_models/*"))


def test_help_is_readable(tmp_path):
    result = train(tmp_path, "--help")
    for word in ("--arch", "--dataset", "--normalization", "--learning_rate", "--xla", "--export_dir"):
        assert word in result.stdout
