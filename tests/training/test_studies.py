import json
import signal
import sys
import threading
import time
import types

import pytest

from keras_norms.training import run_folder, studies

ENDS = "import json, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(json.dumps({'test_accuracy': 0.5}))"


@pytest.fixture
def job(tmp_path):
    return studies.Job("alexnet_bn", 1, tmp_path / "alexnet_bn" / "1")


def python(code, *arguments):
    return [sys.executable, "-S", "-c", code, *map(str, arguments)]


def trained(job):
    job.folder.mkdir(parents=True, exist_ok=True)
    run_folder.write(job.folder / "result.json", {"test_accuracy": 0.5})
    return job


def failure(job):
    return json.loads((job.folder / "failure.json").read_text())


def test_jobs_are_all_rows_with_a_seed_then_with_the_next(tmp_path):
    protocols = {"a": (("moving", 100),), "b": ()}
    published = {name: types.SimpleNamespace(protocols=value) for name, value in protocols.items()}
    found = studies.jobs(["b", "a"], 2, tmp_path, published)
    assert [(job.row, job.seed) for job in found] == [("b", 0), ("a", 0), ("b", 1), ("a", 1)]
    for job in found:
        assert job.folder == tmp_path / job.row / str(job.seed)
        assert job.protocols == protocols[job.row]


def test_job_is_trained_once_there_is_a_result(job):
    assert not job.is_trained
    job.folder.mkdir(parents=True)
    run_folder.write(job.folder / "config.json", {})
    assert not job.is_trained
    assert trained(job).is_trained
    assert not job.has_failed


def test_tests_are_open_until_their_file_is_there(tmp_path):
    protocols = (("moving", 100), ("batch", 1), ("batch", 100))
    job = trained(studies.Job("row", 0, tmp_path / "run", protocols))
    assert list(job.open_tests.values()) == list(protocols)
    assert len(set(job.open_tests)) == 3
    made = list(job.open_tests)[1]
    assert made.parent == job.folder
    made.write_text("{}")
    assert list(job.open_tests.values()) == [("moving", 100), ("batch", 100)]


def test_job_without_protocols_has_no_open_tests(job):
    assert trained(job).open_tests == {}


def test_success_leaves_no_failure(job):
    job.folder.mkdir(parents=True)
    assert job.carry_out(python(ENDS, job.folder / "result.json")) is None
    assert job.is_trained
    assert not job.has_failed
    assert [path.name for path in job.folder.iterdir()] == ["result.json"]


def test_later_command_of_a_trained_job_may_succeed_and_fail(job):
    trained(job)
    assert job.carry_out(python("pass")) is None
    assert not job.has_failed
    assert job.carry_out(python("import sys; sys.exit('no such statistics')")) == "no such statistics"
    assert job.is_trained
    assert failure(job) == {"error": "no such statistics"}


def test_command_gets_its_arguments_unchanged(job, tmp_path):
    words = ["--lr_mult=*_bias/bias:1.0,bias:2.0", "two words", "$HOME 'quoted'"]
    script = "import json, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(json.dumps(sys.argv[2:]))"
    trained(job).carry_out(python(script, tmp_path / "seen", *words))
    assert json.loads((tmp_path / "seen").read_text()) == words


@pytest.mark.parametrize(
    ("code", "error"),
    [
        # The last line of what it said, as of a driver after TensorFlow's.
        ("import sys; print('W0000 warned', file=sys.stderr); sys.exit('train.py: refused.')", "train.py: refused."),
        ("import sys; sys.exit('train.py: refused.\\n\\n')", "train.py: refused."),
        ("raise FloatingPointError('loss became no number')", "FloatingPointError: loss became no number"),
        ("import sys; print('to stdout'); sys.exit(3)", "exit status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", f"ended by signal {signal.SIGKILL.value}"),
        # Of a program that is out of memory the last line says nothing, or something else.
        (
            "import os, sys; print('W0000 warned', file=sys.stderr, flush=True); os.abort()",
            f"ended by signal {signal.SIGABRT.value}",
        ),
        # What is no UTF-8, as from a library in C, is no reason to lose the study.
        ("import sys; sys.stderr.buffer.write(b'\\xff cannot\\n'); sys.exit(1)", "\N{REPLACEMENT CHARACTER} cannot"),
    ],
)
def test_failure_is_written_down_and_returned(job, code, error):
    assert job.carry_out(python(code)) == error
    assert job.has_failed
    assert not job.is_trained
    assert failure(job) == {"error": error}


def test_failure_can_be_forgotten(job):
    job.forget_failure()
    job.carry_out(python("raise SystemExit('refused')"))
    assert job.has_failed
    job.forget_failure()
    assert not job.has_failed


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(130)",  # Ctrl-C, as drivers end after it
        "pass",  # SIGTERM: status 0, and no result
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)",  # Ctrl-C before there is a driver to notice
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    ],
)
def test_command_that_was_told_to_end_has_not_failed(job, code):
    with pytest.raises(KeyboardInterrupt, match=r"alexnet_bn with seed 1 was told to end.*same command goes on"):
        job.carry_out(python(code))
    assert not job.has_failed


# More than a pipe holds, which nobody reads while a study only waits; it gives up at last, for a test that can fail.
SAVES = """
import os, pathlib, signal, sys, threading, time
def save(*_):
    threading.Timer(5, os._exit, [1]).start()
    print("x" * 1_000_000, file=sys.stderr, flush=True)
    pathlib.Path(sys.argv[2]).touch()
    os._exit(0)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1]).touch()
time.sleep(20)
"""


@pytest.fixture
def interrupted_when_ready(tmp_path):
    """Ctrl-C for this process alone, as soon as the program has written the file `ready`."""
    main = threading.main_thread().ident

    def interrupt():
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    yield
    thread.join()


@pytest.mark.usefixtures("interrupted_when_ready")
def test_interrupt_ends_the_command_after_it_has_saved(job, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "_PATIENCE", 0.1)
    with pytest.raises(KeyboardInterrupt):
        job.carry_out(python(SAVES, tmp_path / "ready", tmp_path / "saved"))
    assert (tmp_path / "saved").exists()
    assert not job.has_failed


# As in a terminal, where Ctrl-C reaches both: SIGTERM would break the saving.
SAVES_BY_ITSELF = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
time.sleep(1.5)
pathlib.Path(sys.argv[2]).touch()
"""


@pytest.mark.usefixtures("interrupted_when_ready")
def test_interrupt_leaves_the_command_time_to_end_by_itself(job, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        job.carry_out(python(SAVES_BY_ITSELF, tmp_path / "ready", tmp_path / "saved"))
    assert (tmp_path / "saved").exists()


CONTENT = {"study": "bn_dropout", "command": "python drivers/study.py bn_dropout", "overrides": {"drops": (0.5, 0.75)}}


def content(**differences):
    return {**CONTENT, "seeds": 2, **differences}


def claimed(folder):
    return json.loads((folder / "study.json").read_text())


def test_new_folder_is_claimed(tmp_path):
    folder = tmp_path / "runs" / "study"
    studies.claim(folder, content())
    assert claimed(folder) == content(overrides={"drops": [0.5, 0.75]})


def test_same_study_goes_on_with_another_command_and_more_seeds(tmp_path):
    studies.claim(tmp_path, content())
    studies.claim(tmp_path, content())
    studies.claim(tmp_path, content(command="python drivers/study.py bn_dropout --seeds 5", seeds=5))
    assert (claimed(tmp_path)["seeds"], claimed(tmp_path)["command"][-9:]) == (5, "--seeds 5")


@pytest.mark.parametrize("difference", [{"study": "alexnet_bn"}, {"overrides": {"epochs": 8}}, {"overrides": {}}])
def test_folder_of_another_study_is_refused_and_left_alone(tmp_path, difference):
    studies.claim(tmp_path, content())
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(
        ValueError, match=r"`workdir` must be new.*--workdir\. Received: .*made with.*and now"
    ) as refusal:
        studies.claim(tmp_path, content(**difference))
    assert str(tmp_path) in str(refusal.value)
    assert str(next(iter(difference.values()))) in str(refusal.value)
    assert (tmp_path / "study.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def test_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("years of work")
    for folder in (tmp_path / "file", tmp_path / "file" / "study"):
        with pytest.raises(OSError, match=r"`workdir` must be a folder that can be written\. Received: .*file"):
            studies.claim(folder, content())
    assert (tmp_path / "file").read_text() == "years of work"


def test_full_disk_is_told_of(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(f"{path} cannot be written: no space left on device")

    monkeypatch.setattr(run_folder, "write", full)
    with pytest.raises(OSError, match=r"`workdir` must be a folder that can be written.*no space left"):
        studies.claim(tmp_path / "study", content())
