import csv
import pathlib

import pytest

from keras_norms.recipes import curves, references

SHARED = pathlib.Path(__file__).parents[2].parent / "shared" / "reference"
IMAGES = 1_281_167
# Steps of 256 images, but for one network with batches of 255 (three of 85).
IMAGES_PER_STEP = {"googlenet128": 255}

ROWS = {
    "bn_before": ("bn_before_after", "Before"),
    "bn_before_affine": ("bn_before_after", "Before + scale&bias layer"),
    "bn_after": ("bn_before_after", "After"),
    "bn_after_affine": ("bn_before_after", "After + scale&bias layer"),
    "bn_act_relu": ("bn_activations", "ReLU"),
    "bn_act_rrelu": ("bn_activations", "RReLU"),
    "bn_act_prelu": ("bn_activations", "PReLU"),
    "bn_act_elu": ("bn_activations", "ELU"),
    "bn_act_maxout": ("bn_activations", "Maxout"),
    "bn_act_sigmoid": ("bn_activations", "Sigmoid"),
    "bn_act_tanh": ("bn_activations", "TanH"),
    "bn_act_none": ("bn_activations", "No"),
    "bn_dropout05": ("bn_dropout", "Dropout = 0.5"),
    "bn_dropout02": ("bn_dropout", "Dropout = 0.2"),
    "bn_dropout0": ("bn_dropout", "Dropout = 0"),
    "caffenet128": ("bn_arch_init", "Caffenet"),
    "caffenet128_rerun": ("bn_arch_init", "Caffenet"),
    "caffenet128_bn_before_affine_lsuv": ("bn_arch_init", "Caffenet BN Before + scale&bias layer LSUV"),
    "caffenet128_bn_before_affine_ortho": ("bn_arch_init", "Caffenet BN Before + scale&bias layer Ortho"),
    "caffenet128_bn_after_lsuv": ("bn_arch_init", "Caffenet BN After LSUV"),
    "caffenet128_bn_after_ortho": ("bn_arch_init", "Caffenet BN After Ortho"),
    "googlenet128": ("bn_arch_init", "GoogLeNet128"),
    "googlenet128_bn_before_affine_lsuv": ("bn_arch_init", "GoogLeNet BN Before + scale&bias layer LSUV"),
    "googlenet128_bn_before_affine_ortho": ("bn_arch_init", "GoogLeNet BN Before + scale&bias layer Ortho"),
    "googlenet128_bn_after_lsuv": ("bn_arch_init", "GoogLeNet BN After LSUV"),
    "googlenet128_bn_after_ortho": ("bn_arch_init", "GoogLeNet BN After Ortho"),
    "alexnet_fashion_mnist_without_bn": ("alexnet_fashion_mnist", "without BN, epoch 40 (final)"),
    "alexnet_fashion_mnist_with_bn": ("alexnet_fashion_mnist", "with BN, epoch 40 (final)"),
}
LAST_STEP = {"bn_act_elu": 304_000, "caffenet128": 291_000}
BENCHMARK = sorted(name for name in ROWS if not name.startswith("alexnet"))


def column(curve, name):
    return [row[name] for row in curve]


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def number(text):
    return float(text) if text else None


def test_every_row_with_a_curve_has_it_and_no_other():
    assert curves.names() == sorted(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_every_curve_is_in_order_and_plausible(name):
    curve = curves.published(name)
    epochs, accuracies = column(curve, "epoch"), column(curve, "test_accuracy")
    assert epochs == sorted(set(epochs))
    assert epochs[0] >= 0
    assert all(0 < accuracy < 1 for accuracy in accuracies)
    assert max(accuracies) > accuracies[0] + 0.05
    assert all(loss is None or 0 < loss < 12 for loss in column(curve, "test_loss"))
    assert all(row.keys() == set(curves.COLUMNS) for row in curve)


@pytest.mark.parametrize(("name", "row"), ROWS.items())
def test_curve_ends_at_the_result_of_its_row(name, row):
    end, published = curves.published(name)[-1], references.reference(*row)
    # Published digits are cut off (0.001), plots are read to 0.001 and 0.02.
    assert end["test_accuracy"] == pytest.approx(published.value, abs=2e-3)
    if end["test_loss"] is not None:
        assert end["test_loss"] == pytest.approx(published.value2, abs=0.025)


@pytest.mark.parametrize("name", BENCHMARK)
def test_epochs_are_counted_in_images(name):
    epochs = column(curves.published(name), "epoch")
    per_step = IMAGES_PER_STEP.get(name, 256) / IMAGES
    steps = [epoch / per_step for epoch in epochs]
    assert all(step == pytest.approx(4000 * round(step / 4000), abs=0.5) for step in steps[:-1])
    assert steps[-1] == pytest.approx(LAST_STEP.get(name, 320_000), abs=0.5)
    assert len(steps) in {74, 77, 80, 81}


@pytest.mark.parametrize(("name", "stored"), curves.SAME_RUN.items())
def test_curves_of_the_same_run_are_equal(name, stored):
    assert curves.published(name) == curves.published(stored)
    assert references.reference(*ROWS[name]).value == references.reference(*ROWS[stored]).value


@pytest.mark.parametrize("network", ["with BN", "without BN"])
def test_fashion_mnist_agrees_with_the_published_results(network):
    curve = curves.published(f"alexnet_fashion_mnist_{network.lower().replace(' ', '_')}")
    assert column(curve, "epoch") == list(range(1, 41))
    rows = {one.row: one for one in references.REFERENCES if one.row.startswith(network)}
    loss, best, mean = (
        rows[f"{network}, {row}"] for row in ("epoch 40 (final), loss", "best test accuracy", "mean of epochs 31-40")
    )
    assert (curve[-1]["train_loss"], curve[-1]["seconds"] - curve[-2]["seconds"]) == pytest.approx(
        (loss.value, loss.value2)
    )
    assert max(column(curve, "test_accuracy")) == best.value == curve[round(best.value2) - 1]["test_accuracy"]
    assert sum(column(curve, "test_accuracy")[30:]) / 10 == pytest.approx(mean.value)
    first = rows[f"{network}, epoch 1"]
    assert (curve[0]["test_accuracy"], curve[0]["train_accuracy"]) == (first.value, first.value2)


@pytest.mark.skipif(not SHARED.exists(), reason="the published curves are not beside the project")
@pytest.mark.parametrize("name", BENCHMARK)
def test_equals_every_4000th_step_of_the_published_curve(name):
    rows = read(SHARED / "caffenet_benchmark" / f"{name}.csv")
    kept = [row for row in rows[:-1] if int(row["iteration"]) % 4000 == 0] + rows[-1:]
    curve = curves.published(name)
    for accuracy_or_loss in ("test_accuracy", "test_loss"):
        assert column(curve, accuracy_or_loss) == [number(row[accuracy_or_loss]) for row in kept]
    seen = [int(row["iteration"]) * IMAGES_PER_STEP.get(name, 256) / IMAGES for row in kept]
    assert column(curve, "epoch") == pytest.approx(seen, abs=1e-4)
    for unknown in ("train_loss", "train_accuracy", "seconds"):
        assert set(column(curve, unknown)) == {None}


@pytest.mark.skipif(not SHARED.exists(), reason="the published curves are not beside the project")
@pytest.mark.parametrize("network", ["with_bn", "without_bn"])
def test_equals_the_printed_lines(network):
    rows = read(SHARED / "alexnet_fashion_mnist" / f"{network}.csv")
    curve = curves.published(f"alexnet_fashion_mnist_{network}")
    for name in ("epoch", "train_loss", "train_accuracy", "test_accuracy"):
        assert column(curve, name) == [float(row[name]) for row in rows]
    passed = [sum(float(row["seconds"]) for row in rows[: end + 1]) for end in range(len(rows))]
    assert column(curve, "seconds") == pytest.approx(passed)
    assert set(column(curve, "test_loss")) == {None}


@pytest.mark.parametrize(("name", "nearest"), [("bn_affter", "bn_after"), ("caffenet", "caffenet128")])
def test_unknown_curves_are_refused_with_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"the nearest is '{nearest}'. Received: '{name}'"):
        curves.published(name)
