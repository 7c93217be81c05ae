"""The driver as a command: killed, told to end, with a row that fails, gone on with, and with wrong words."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

from tests.drivers import forked

DRIVER = pathlib.Path(__file__).parents[2] / "drivers" / "study.py"
# Not the log level of the tests: the driver chooses its own.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
ROWS = ("googlenet128_bn_after", "caffenet128_bn_after", "caffenet128")
FAST = ("--arch=resnet20", "--image_size=16", "--steps=2", "--batch_size=50", "--micro_batches=1", "--initialization=")
STUDY = ("bn_initialization", f"--rows={','.join(ROWS)}", "--dataset=shapes", *FAST, "--workdir=here/study")


def command(*arguments):
    return [sys.executable, str(DRIVER), *arguments]


def study(cwd, *arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT)


def amid(run, cwd, *arguments):
    """Starts a study, and returns its process and the number of the one that trains in the folder of a run, which is
    halted there, so that it cannot end by itself."""
    with (cwd / "said.txt").open("w") as said:
        process = subprocess.Popen(command(*arguments), cwd=cwd, env=ENVIRONMENT, stdout=said, stderr=said)
    children, lock = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children"), run / "lock"
    while not any(f"process {child} " in lock.read_text() for child in children.read_text().split() if lock.exists()):
        assert process.poll() is None, (cwd / "said.txt").read_text()
        time.sleep(0.02)
    child = int(children.read_text())
    os.kill(child, signal.SIGSTOP)
    return process, child


def is_alive(pid):
    """Returns whether there is such a process that has not ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("**/*")}


def test_ended_in_every_way_it_repeats_nothing_and_reports_all_rows(tmp_path):
    folder = tmp_path / "here" / "study"
    trained, failing, third = (folder / row / "0" for row in ROWS)
    failing.mkdir(parents=True)
    (failing / "of_somebody").touch()  # so that nothing can be trained there

    process, child = amid(third, tmp_path, *STUDY)
    process.kill()
    process.wait()
    left = study(tmp_path, *STUDY)  # its training is still there
    os.kill(child, signal.SIGKILL)
    assert (left.returncode, left.stderr.count("\n")) == (1, 1)
    assert "must not be in use" in left.stderr
    before = {**times(trained), **times(failing)}
    started = times(third)[third / "config.json"]

    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        process, child = amid(third, tmp_path, *STUDY)
        process.send_signal(number)
        time.sleep(0.3)
        os.kill(child, signal.SIGCONT)
        assert process.wait(60) == status
        assert "the same command goes on" in (tmp_path / "said.txt").read_text()
        assert not is_alive(child)
    assert not (third / "failure.json").exists()

    ended = study(tmp_path, *STUDY)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "1 of 3 failed" in ended.stdout
    assert {path: time for path, time in times(folder).items() if path in before} == before
    assert times(third)[third / "config.json"] == started
    assert (third / "result.json").exists()
    assert json.loads((trained / "test-batch-20.json").read_text())["statistics"] == "batch"
    assert "must be empty, new" in json.loads((failing / "failure.json").read_text())["error"]
    assert "must be empty, new" in (folder / "report" / "report.md").read_text()

    (failing / "of_somebody").unlink()
    open_lines = [study(tmp_path, *STUDY, "--parallel", *more) for more in ((), ("--retry_failed",))]
    assert open_lines[0].stdout == ""
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    subprocess.run(["sh", "-c", open_lines[1].stdout], cwd=elsewhere, check=True)
    assert not list(elsewhere.iterdir())
    before = times(folder)
    again = study(tmp_path, *STUDY)
    assert [line for line in again.stdout.splitlines() if not line.startswith("[")] == [
        "Report: here/study/report/report.md"
    ]
    changed = {path for path, time in times(folder).items() if before.get(path) != time}
    assert {path.parent for path in changed} <= {folder, folder / "report", folder.parent}
    assert "must be empty, new" not in (folder / "report" / "report.md").read_text()


def test_lines_for_other_processes_have_every_word(tmp_path):
    arguments = (
        "bn_placement", "--dataset=shapes", "--seeds=2", "--norm=batch_norm_after", "--noflip", "--pixel_mean=",
        "--options=version:v1.5", "--lr_mult=bias:2,*_norm/bias:1", "--data_dir=~/my sets", "--parallel",
    )  # fmt: skip
    result = forked.run("study.py", arguments, tmp_path)
    lines = result.stdout.splitlines()
    assert len(lines) == 10
    assert len(set(lines)) == 10
    words = shlex.split(lines[-1])
    assert words[:3] == ["cd", str(tmp_path), "&&"]
    assert set(words[5:]) == {
        "--recipe=caffenet128_bn_after_scale_bias", "--seed=1", "--export_dir=", "--dataset=shapes",
        "--workdir=runs/bn_placement-shapes/caffenet128_bn_after_scale_bias/1", "--normalization=batch_norm_after",
        "--noflip", "--pixel_mean=", "--options=version:v1.5", "--lr_mult=bias:2,*_norm/bias:1", "--data_dir=~/my sets",
    }  # fmt: skip
    again = ("bn_placement", "--dataset=shapes", "--workdir=runs/bn_placement-shapes", "--parallel")
    other = forked.run("study.py", again, tmp_path)
    assert (other.returncode, other.stdout) == (1, "")
    assert "`workdir` must be new, or that of the same study with the same settings" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "The study must be one of bn_placement, bn_activations"),
        (["residual_block"], "the nearest is 'residual_blocks'"),
        (["residual_blocks", "resnet20"], "Received: resnet20"),
        (["residual_blocks", "--rows=resnet20,alexnet"], "must be of the study residual_blocks: resnet20_bn_after_add"),
        (["residual_blocks", "--dataset=no_such_set"], "--dataset shapes"),
        (["residual_blocks", "--dataset=shapes", "--seed=3"], "--seeds says how many"),
    ],
)
def test_bad_input_gets_one_clear_error_and_leaves_nothing(arguments, words, tmp_path):
    result = forked.run("study.py", arguments, tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
