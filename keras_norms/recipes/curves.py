"""The published curves of the studies, as far as there are some: `curves.csv`, beside this file.

Those of the caffenet-benchmark (https://github.com/ducha-aiki/caffenet-benchmark, commit e47c4ff) are here at every
4,000th step and at the last one. `bn_act_elu`, `caffenet128`, `caffenet128_bn_after_ortho` up to step 250,000 and
`googlenet128_bn_after_ortho` up to step 108,000 are numbers of logs; all else was read off the plots of the repository.
Where a run has both, the plot is off by 0.0005 to 0.002 in accuracy and by 0.004 to 0.008 in loss (root of the mean
square) from 20,000 steps on, by up to 0.013 and 0.1 before 10,000 steps, and by up to 0.03 and 0.08 right after a
drop of the learning rate. The loss of `bn_act_prelu` lies hidden behind another curve: off by up to 0.03.
`caffenet128` is the run of December 2015, which ends at step 291,000, `caffenet128_rerun` the curve plotted since
March 2016. No test loss was plotted for `bn_after_affine`, nor for the main head of GoogLeNet.

`alexnet_fashion_mnist_with_bn` and `alexnet_fashion_mnist_without_bn` are the printed lines of a blog post on batch
normalization in MXNet; loss and accuracy of the training are running averages while it learns.
"""

import csv
import difflib
import pathlib

COLUMNS = ("epoch", "test_accuracy", "test_loss", "train_loss", "train_accuracy", "seconds")

# Rows of several tables that are one run, and the name under which it stands in the file.
SAME_RUN = {
    "bn_act_relu": "bn_after",
    "bn_dropout05": "bn_after",
    "caffenet128_bn_after_lsuv": "bn_after",
    "caffenet128_bn_before_affine_lsuv": "bn_before_affine",
}


def names():
    """Returns the names of all published curves, sorted."""
    return sorted({row["curve"] for row in _rows()} | SAME_RUN.keys())


def published(name):
    """Returns a published curve.

    Args:
        name: String, one of `names()`.

    Returns:
        List of dicts, one a test, in the order of the training. Keys: `COLUMNS`; values: floats, or None where unknown.
        `epoch` is how many times the training images had been seen, 0 before the first step; `seconds` is how long the
        training had taken.

    Raises:
        ValueError: There is no such curve; the message has the nearest.
    """
    stored = SAME_RUN.get(name, name)
    curve = [{column: _number(row[column]) for column in COLUMNS} for row in _rows() if row["curve"] == stored]
    if not curve:
        nearest = difflib.get_close_matches(name, names(), n=1, cutoff=0)[0]
        raise ValueError(f"No published curve has this name; the nearest is {nearest!r}. Received: {name!r}.")
    return curve


def _rows():
    with pathlib.Path(__file__).with_name("curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _number(text):
    return float(text) if text else None
