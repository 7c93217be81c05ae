"""Prints what normalizations move through memory in a training step of each network, and how long that takes at least.

    python -m benchmarks.cost_model
    python -m benchmarks.cost_model --bytes 2 --bandwidths 1e12 2e12 5e12

Counted are reads and writes of whole activations and of all kernels, by layers that are published: one pass for
statistics, the ReLU apart. What a network without normalization moves for its ReLUs is left out: a column is what
choosing the normalization adds. Divided by a bandwidth it is the least time; that of small tensors is more.
"""

import argparse
import math

from benchmarks import table
from keras_norms import models
from keras_norms.initializers import linear_layers

BATCHES = {"resnet20": 128, "caffenet128": 64, "googlenet128": 32, "resnet50": 16, "alexnet": 64}

# Reads and writes in forward and backward, of an element of an activation and of one of a kernel.
MOVES = {
    "batch_norm_before": {"activations": 8},  # 2 reads and 1 write forwards, 4 and 1 backwards
    "batch_norm_after": {"activations": 8},
    "weight_norm": {"kernels": 8},
    "weight_norm_trelu": {"kernels": 8, "activations": 1},  # the gradient of the thresholds reads what was clipped
    "normprop": {"kernels": 8, "activations": 4},  # the mean taken off and the division: 1 and 1, and so backwards
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=4, help="of an element: 4 of float32, 2 of half precision")
    parser.add_argument(
        "--bandwidths", type=float, nargs="+", default=[25e9, 1e12, 5e12], help="bytes a second that are copied"
    )
    given = parser.parse_args(arguments)
    print(page(given.bytes, given.bandwidths))


def page(item, bandwidths):
    """Returns the table as Markdown.

    Args:
        item: Integer, the bytes of an element.
        bandwidths: Sequence of floats, bytes a second.
    """
    head = ["network, batch", "normalization", "GB a step", *(f"ms at {rate / 1e12:g} TB/s" for rate in bandwidths)]
    rows = []
    for arch, batch in BATCHES.items():
        elements = normalized_elements(arch, batch)
        for normalization, moves in MOVES.items():
            moved = item * sum(times * elements[kind] for kind, times in moves.items())
            milliseconds = [f"{1e3 * moved / rate:.3g}" for rate in bandwidths]
            rows.append([f"{arch}, {batch}", normalization, f"{moved / 1e9:.3g}", *milliseconds])
    return table.markdown(head, rows)


def normalized_elements(arch, batch):
    """Returns how many elements of activations and of kernels a step normalizes: all but the logits'."""
    model = models.build(arch, normalization="batch_norm_before")
    outputs = model.output.values() if isinstance(model.output, dict) else [model.output]
    last = {tensor._keras_history.operation.name for tensor in outputs}
    layers = [layer for layer in linear_layers.everywhere(model) if linear_layers.is_linear(layer)]
    hidden = [layer for layer in layers if layer.name not in last]
    return {
        "activations": batch * sum(math.prod(layer.output.shape[1:]) for layer in hidden),
        "kernels": sum(math.prod(layer.kernel.shape) for layer in hidden),
    }


if __name__ == "__main__":
    main()
