import json
import sys

import pytest

from benchmarks import table, targets

CASE = "resnet20, batch_norm_before"


@pytest.fixture
def steps(made_up):
    return made_up(
        {
            (CASE, "keras", "step", "s"): [0.3, 0.32, 0.31],
            (CASE, "keras_norms", "step", "s"): [0.155],
            ("resnet20, none", "keras", "step", "s"): [0.25],
            ("resnet20, none", "keras_norms", "step", "s"): [0.155 / 1.18],
            ("resnet50, batch_norm_before", "keras_norms", "peak memory", "B"): [1234.5e6],
            ("cifar10, resnet20, batch 128", "keras", "images per second", "images/s"): [12345.6],
        },
        absent={"torch": "not installed: No module named 'torch'"},
    )


def target(words):
    return next(target for target in targets.TARGETS if target.words.startswith(words))


def test_page_says_what_was_measured_where(steps):
    page = table.page({"step": steps})
    assert "- step: Abacus, 2 cores (avx2), 24 GiB, Linux 6, oneDNN off by default\n" in page
    assert "Copy bandwidth 18.5 GB/s. keras 3.15.1, torch 2.13.0." in page
    assert f"|  | keras_norms | keras |\n| --- | --- | --- |\n| {CASE} | 155 | 310 (300–320) ×2.00 |\n" in page
    assert "### peak memory, MB" in page
    assert "| 1,234 |" in page  # all digits before the point
    assert "| 12,346 |" in page
    assert "- torch is missing. not installed: No module named 'torch'\n" in page


def test_page_says_which_figures_are_reached(steps):
    page = table.page({"step": steps})
    words = "Training step with batch norm: of Keras with oneDNN"
    assert f"| {words} | ≤ 0.85 | 0.50 | {CASE} | 0.50 | yes |" in page
    assert f"| Cost of batch norm in a step: of Keras | ≤ 0.50 | 0.75 | {CASE} | 0.75 | **no** |" in page
    assert "| Training step with batch norm: of PyTorch | ≤ 0.90 |  |  |  | not measured |" in page


def test_figures_are_of_this_machine(steps):
    assert "0.75" not in table.page({"step_h100": steps})


def test_cost_is_the_difference_over_the_step_without(steps):
    values = target("Cost of batch norm").values(steps)
    assert values == {CASE: pytest.approx(0.18 / 0.24)}


def test_default_environment_is_the_one_with_onednn_where_tensorflow_turns_it_on(steps):
    default = target("Training step with batch norm: of Keras, default")
    assert default.values(steps) == {}
    steps["machine"] = {**steps["machine"], "onednn by default": True}
    assert default.values(steps) == {CASE: pytest.approx(0.5)}


def test_worst_is_the_smallest_where_more_is_better(made_up):
    name = "images per second"
    rates = {(f"cifar10, {n}", who, name, "images/s"): [rate] for n, who, rate in RATES}
    images = target("Images a second")
    values = images.values(made_up(rates))
    assert values == {"cifar10, a": 3.0, "cifar10, b": 1.5}
    assert images.worst(values) == "cifar10, b"
    assert not images.reached(values)
    assert images.reached({"cifar10, a": 3.0})


RATES = [
    ("a", "keras_norms", 3.0),
    ("a", "keras, default environment", 1.0),
    ("b", "keras_norms", 3.0),
    ("b", "keras, default environment", 2.0),
]


def test_command_writes_the_page_beside_the_results(steps, tmp_path, monkeypatch):
    (tmp_path / "step.json").write_text(json.dumps(steps))
    monkeypatch.setattr(sys, "argv", ["table", str(tmp_path)])
    table.main()
    assert (tmp_path / "README.md").read_text() == table.page({"step": steps})
