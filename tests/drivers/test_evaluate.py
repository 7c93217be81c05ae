"""The driver as a command: a run and what it exported get the same numbers, and wrong words one clear error."""

import json

import pytest

from tests.drivers import forked


def evaluated(folder, *arguments):
    """Returns what the driver printed, and what it wrote."""
    result = forked.run("evaluate.py", [*arguments, "--json=report.json"], folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout, json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run of two steps, `run`, and of what it exported, `saved_models/resnet20/1`."""
    folder = tmp_path_factory.mktemp("trained")
    fast = ["--arch=resnet20", "--image_size=16", "--steps=2", "--batch_size=64", "--weight_average=0.5"]
    result = forked.run("train.py", [*fast, "--workdir=run"], folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("crops", [1, 10])
def test_a_run_and_its_saved_model_reach_the_same(folder, crops):
    printed, of_run = evaluated(folder, "--run=run", f"--crops={crops}")
    _, of_saved_model = evaluated(
        folder, "--saved_model=saved_models/resnet20/1", "--dataset=shapes", f"--crops={crops}", "--replicas=2"
    )
    for name in ("top_1", "top_5", "log_loss"):
        assert of_saved_model[name] == pytest.approx(of_run[name], rel=1e-4)
    result = json.loads((folder / "run" / "result.json").read_text())
    assert of_run["examples"] == of_saved_model["examples"] == result["test_examples"]
    if crops == 1:
        assert of_run["top_1"] == result["test_accuracy"]
    top_1, top_5, log_loss = (f"{of_run[name]:.4f}" for name in ("top_1", "top_5", "log_loss"))
    for words in ("run, step 2", f"top-1 {top_1}", f"top-5 {top_5}", f"log-loss {log_loss}", of_run["protocol"]):
        assert words in printed


def test_batch_statistics_on_two_replicas(folder):
    arguments = ("--run=run", "--statistics=batch", "--batch_size=99", "--replicas=2", "--xla=off")
    printed, report = evaluated(folder, *arguments)
    assert "statistics of each batch of 99 images, the last one of" in printed
    assert (report["split"], report["statistics"], report["batch_size"]) == ("test", "batch", 99)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give one of --run and --saved_model"),
        (["--run=run", "--saved_model=saved_models/resnet20/1"], "Give one of --run and --saved_model"),
        (["--run=saved_models"], "must be the folder of a run"),
        (["--saved_model=saved_models/resnet20", "--dataset=shapes"], "must be the folder of one version"),
        (["--saved_model=saved_models/resnet20/1"], "give `dataset`"),
        (["--saved_model=saved_models/resnet20/1", "--dataset=shapes", "--xla=on"], "without XLA"),
        (["--run=run", "--dataset=no_such_set"], "'no_such_set' was not found"),
        (["--run=run", "--crops=5"], "crops"),
        (["--run=run", "--json=nowhere/report.json"], "`json` must be in a folder that exists"),
    ],
)
def test_bad_input_gets_one_clear_error(folder, arguments, words):
    result = forked.run("evaluate.py", arguments, folder)
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
