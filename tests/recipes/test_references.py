import csv
import dataclasses
import pathlib

import pytest

from keras_norms.recipes import references

PUBLISHED = pathlib.Path(__file__).parents[2].parent / "shared" / "reference" / "published.csv"
FRACTIONS = {"top1_accuracy", "test_accuracy", "train_accuracy", "test_error", "reference_test_error"}
LARGEST = {"log_loss": 7, "train_loss": 3, "epoch": 40, "layers": 110, "seconds": 100}
WITHDRAWN = {"resnet_cifar_model_size", "resnet_cifar_architecture"}


def of(study):
    return [one for one in references.REFERENCES if one.study == study]


def words(one):
    return " ".join(one.defects)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the table of published results is not beside the project")
def test_equals_the_table_of_published_results():
    with PUBLISHED.open(newline="") as file:
        rows = {(row["study"], row["row"]): row for row in csv.DictReader(file)}
    ours = {(one.study, one.row): one for one in references.REFERENCES}
    assert ours.keys() == rows.keys()
    for key, row in rows.items():
        for name in ("dataset", "metric", "source"):
            assert getattr(ours[key], name) == row[name], key
        assert ours[key].value == float(row["value"]), key
        assert ours[key].metric2 == (row["metric2"] or None), key
        assert ours[key].value2 == (float(row["value2"]) if row["value2"] else None), key


def test_every_result_stands_once():
    assert len({(one.study, one.row) for one in references.REFERENCES}) == len(references.REFERENCES) == 60


@pytest.mark.parametrize("one", references.REFERENCES, ids=lambda one: f"{one.study}/{one.row}")
def test_every_result_is_a_plausible_number_with_a_source(one):
    assert one.source
    assert one.dataset
    assert (one.metric2 is None) == (one.value2 is None)
    for metric, value in [(one.metric, one.value)] + [(one.metric2, one.value2)] * (one.metric2 is not None):
        assert 0 < value < 1 if metric in FRACTIONS else 0 < value <= LARGEST[metric]


@pytest.mark.parametrize("one", references.REFERENCES, ids=lambda one: f"{one.study}/{one.row}")
def test_every_defect_is_a_sentence(one):
    assert one.defects
    assert len(set(one.defects)) == len(one.defects)
    for sentence in one.defects:
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")


def test_withdrawn_results_say_so_and_no_others():
    assert {one.study for one in references.REFERENCES if "Withdrawn" in words(one)} == WITHDRAWN
    for study in WITHDRAWN:
        assert all("Withdrawn" in words(one) for one in of(study))


@pytest.mark.parametrize("study", sorted(WITHDRAWN))
def test_withdrawn_errors_are_counts_of_2048_draws(study):
    for one in of(study):
        wrong = round(one.value * 2048)
        assert round(wrong / 2048, 6) == one.value


def test_second_errors_of_the_residual_networks_are_counts_of_10000_images():
    for study in WITHDRAWN:
        for one in of(f"{study}_rerun"):
            assert round(one.value, 4) == one.value


def test_both_tables_of_depths_are_compared_with_the_same_errors():
    first, second = of("resnet_cifar_model_size"), of("resnet_cifar_model_size_rerun")
    assert [(one.row, one.value2) for one in first] == [(one.row, one.value2) for one in second]


@pytest.mark.parametrize(
    ("study", "row", "phrases"),
    [
        ("bn_arch_init", "GoogLeNet BN Before + scale&bias layer LSUV", ["statistics of 50 images", "of 128 images"]),
        ("bn_arch_init", "GoogLeNet BN Before + scale&bias layer Ortho", ["statistics of 20 images", "of 32 images"]),
        ("bn_arch_init", "GoogLeNet BN After LSUV", ["statistics of 20 images", "of 32 images"]),
        ("bn_arch_init", "GoogLeNet BN After Ortho", ["statistics of 20 images", "of 64 images"]),
        ("bn_before_after", "Before + scale&bias layer", ["buggy"]),
        ("bn_before_after", "After + scale&bias layer", ["buggy", "linear interpolation"]),
        ("bn_arch_init", "Caffenet BN Before + scale&bias layer LSUV", ["buggy", "same run"]),
        ("bn_activations", "TanH", ["20,000 of the 50,000", "of 64 images"]),
        ("bn_activations", "Sigmoid", ["of 128 images"]),
        ("bn_activations", "Maxout", ["has not been normalized"]),
        ("bn_activations", "ELU", ["304,000"]),
        ("bn_activations", "RReLU", ["named for a normalization before"]),
        ("bn_activations", "No", ["with scale and bias"]),
        ("bn_arch_init", "Caffenet", ["0.470"]),
        ("bn_arch_init", "GoogLeNet128_BN_lim0606", ["3x1", "Another network"]),
        ("alexnet_fashion_mnist", "with BN, epoch 40 (final)", ["4096", "2048", "learning rate"]),
        ("alexnet_fashion_mnist", "with BN, best test accuracy", ["on the test set"]),
        ("resnet50_bn_wn", "WN", ["Approximate"]),
        ("resnet_cifar_architecture_rerun", "ReLU, BN after add, 110 layers", ["Nsize=19"]),
    ],
)
def test_known_defects_are_told(study, row, phrases):
    for phrase in phrases:
        assert phrase in words(references.reference(study, row))


def test_results_of_the_same_run_are_equal():
    after = references.reference("bn_before_after", "After")
    before = references.reference("bn_before_after", "Before + scale&bias layer")
    same = {one.row: (one.value, one.value2) for one in references.REFERENCES if "The same run as" in words(one)}
    assert same == {
        "ReLU": (after.value, after.value2),
        "Dropout = 0.5": (after.value, after.value2),
        "Caffenet BN After LSUV": (after.value, after.value2),
        "Caffenet BN Before + scale&bias layer LSUV": (before.value, before.value2),
    }


def test_results_are_frozen_and_hashable():
    one = references.reference("resnet50_bn_wn", "BN")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.value = 0.8
    assert len(set(references.REFERENCES)) == 60


@pytest.mark.parametrize(
    ("study", "row", "nearest"),
    [
        ("bn_dropout", "Dropout = 0.4", r"study='bn_dropout', row='Dropout = 0\.5'"),
        ("bn_activation", "RReLU", "study='bn_activations', row='RReLU'"),
        ("resnet50", "BN", "study='resnet50_bn_wn', row='BN'"),
    ],
)
def test_unknown_results_are_refused_with_the_nearest(study, row, nearest):
    with pytest.raises(ValueError, match=f"the nearest is {nearest}. Received: study='{study}', row='{row}'"):
        references.reference(study, row)
