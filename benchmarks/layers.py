"""Measures each normalization alone, forward and backward, on the shapes that the five networks give it.

    python -m benchmarks.layers
    python -m benchmarks.layers --quick --cases "batch_norm,"
    python -m benchmarks.layers --batch_factor 16 --dtype bfloat16 --label h100 --entrants jax

Forward and backward are gradients by the input, the scale and the bias, in a graph where the framework has one, in
training: moving statistics move. Beside the seconds stand the bytes kept for backward, the peak of memory, and the
effective bandwidth: the bytes that the cost model moves for the layers as they are published, with their ReLU apart,
over the seconds. A kernel that moves fewer may come out above the bandwidth of a copy.

Activations below 4 MB are measured in a chain of 16 layers with a ReLU between them, and the seconds divided: alone,
the call of the function is what would be measured. The bytes kept are those of one layer, its input among them.
"""

import dataclasses
import math

from benchmarks.contest import interleaved, options, results
from benchmarks.contest.entrant import DEFAULT, ONEDNN_OFF, Entrant, onednn

LARGE_BYTES = 4_000_000
CHAIN = 16
ROUNDS, QUICK_ROUNDS = 7, 3
LEAST_SECONDS = 0.03

# At the batches of training: 128 of resnet20, 64 of caffenet128 and alexnet, 32 of googlenet128, 16 of resnet50.
RESNET20 = [("resnet20", (128, 32, 32, 16)), ("resnet20", (128, 16, 16, 32)), ("resnet20", (128, 8, 8, 64))]
RESNET50 = [("resnet50", (16, 112, 112, 64)), ("resnet50", (16, 56, 56, 256)), ("resnet50", (16, 7, 7, 2048))]
GOOGLENET128 = [
    ("googlenet128", (32, 64, 64, 64)),
    ("googlenet128", (32, 32, 32, 192)),
    ("googlenet128", (32, 8, 8, 208)),
    ("googlenet128", (32, 4, 4, 128)),
]
CAFFENET128 = [("caffenet128", (64, 30, 30, 96))]
ALEXNET = [("alexnet", (64, 27, 27, 256))]
SMALL = [("small", (8, 4, 4, 16))]
ALL = [*RESNET20, *CAFFENET128, *GOOGLENET128, *RESNET50, *ALEXNET, *SMALL]
FEW = [RESNET20[0], RESNET20[2], GOOGLENET128[1]]
CONVOLVED = [RESNET20[0], RESNET20[2], ("resnet50", (16, 7, 7, 512))]

OURS_AND_KERAS = ["keras_norms", "keras"]
PEERS = [*OURS_AND_KERAS, "torch"]
BACKENDS = ["keras_norms on jax", "keras on jax", "keras_norms on torch", "keras on torch"]
WITH_FIGURES = [*PEERS, DEFAULT]
EVERYONE = [*WITH_FIGURES, ONEDNN_OFF, "torch compiled", "flax", *BACKENDS]


@dataclasses.dataclass(frozen=True)
class Case:
    """A normalization on a shape, the entrants that have it, and whether the quick run has it, too."""

    normalization: str
    network: str
    shape: tuple
    entrants: list
    backward: bool = True
    quick: bool = False

    @property
    def name(self):
        return f"{self.normalization}, {self.network} {'x'.join(map(str, self.shape))}"

    @property
    def quantity(self):
        return "forward and backward" if self.backward else "forward"


def cases():
    """Returns all cases: everyone takes part where it is cheap to have, and those with a figure to reach everywhere."""
    quick = {FEW[0], GOOGLENET128[1], SMALL[0]}
    made = []
    for where in ALL:
        entrants = EVERYONE if where in FEW and chained(where[1]) == 1 else WITH_FIGURES
        made.append(Case("batch_norm", *where, entrants, quick=where in quick))
        entrants = [*PEERS, "torch compiled", "flax"] if entrants is EVERYONE else PEERS
        made.append(Case("batch_norm_before", *where, entrants, quick=where == FEW[0]))
    for where in FEW:
        made.append(Case("batch_norm", *where, [*PEERS, "flax"], backward=False))
        made.append(Case("batch_norm_before", *where, PEERS, backward=False))
        made.append(Case("batch_norm_after", *where, PEERS))
        made += [Case(name, *where, OURS_AND_KERAS) for name in ("trelu", "mean_only_batch_norm")]
    for where in FEW[:2]:
        made += [Case(name, *where, [*PEERS, "flax"]) for name in ("group_norm", "layer_norm")]
    made += [Case("local_response_norm", *where, PEERS) for where in GOOGLENET128[:2]]
    for where in CONVOLVED:
        made.append(Case("weight_norm", *where, PEERS, quick=where == CONVOLVED[0]))
    return [*made, *(Case("normprop", *where, OURS_AND_KERAS) for where in CONVOLVED[:2])]


def entrant(name, case, dtype):
    """Returns the `Entrant` of a name in a case."""
    library, _, backend = name.partition(" on ")
    common = {
        "normalization": case.normalization,
        "shape": case.shape,
        "dtype": dtype,
        "count": chained(case.shape),
        "backward": case.backward,
    }
    if backend:
        module = {"jax": "layers_jax", "torch": "layers_keras_torch"}[backend]
        arguments, environment = common | {"library": library}, {"KERAS_BACKEND": backend}
    elif name == "flax":
        module, arguments, environment = "layers_flax", common, {"KERAS_BACKEND": "jax"}
    elif name.startswith("torch"):
        module, arguments, environment = "layers_torch", common | {"compiled": name == "torch compiled"}, {}
    else:
        module, arguments, environment = "layers_tensorflow", common | {"library": name.partition(",")[0]}, onednn(name)
    interpreter = "tensorflow" if module == "layers_tensorflow" else "backends"
    return Entrant(name, f"benchmarks.peers.{module}:make", arguments, environment, interpreter)


def activation_bytes(shape):
    return 4 * math.prod(shape)


def chained(shape):
    """Returns how many layers are measured at once."""
    return 1 if activation_bytes(shape) >= LARGE_BYTES else CHAIN


def moves(case):
    """Returns how often the cost model reads or writes an activation, or `None` where it says nothing."""
    relu = case.normalization in ("batch_norm_before", "batch_norm_after")
    if case.normalization == "batch_norm" or relu:
        return (13 if relu else 8) if case.backward else (5 if relu else 3)
    return None


def record(record_of_all, case, measured, dtype):
    """Records a case: the seconds of a chain are divided by its length, and its memory is left out."""
    count, item = chained(case.shape), 4 if dtype == "float32" else 2
    for name, found in measured.items():
        if found.failed:
            results.absent(record_of_all, case.name, name, found.failed)
        if not found.seconds:
            continue
        seconds = [value / count for value in found.seconds]
        quantities = {case.quantity: ("s", seconds)}
        if moves(case):
            moved = moves(case) * math.prod(case.shape) * item
            quantities[f"effective bandwidth {case.quantity}"] = ("B/s", [moved / value for value in seconds])
        if case.backward:
            quantities["kept for backward"] = ("B", [found.facts["kept for backward"]])
        if count == 1:
            quantities[f"peak memory {case.quantity}"] = ("B", [found.peak_memory])
        for quantity, (unit, values) in quantities.items():
            results.add(record_of_all, case.name, name, quantity, unit, values)


def main(arguments=None):
    parser = options.parser(__doc__)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the activations")
    parser.add_argument("--batch_factor", type=int, default=1, help="times the batches: 16 and more to fill a GPU")
    given = options.parse(parser, arguments)
    measured_cases = results.new("layers", given)
    for case in cases():
        names = options.chosen(case.entrants, given.entrants)
        if given.quick:
            names = [name for name in names if name in WITH_FIGURES]
        batch = case.shape[0] * given.batch_factor
        case = dataclasses.replace(case, shape=(batch, *case.shape[1:]))
        if given.cases in case.name and names and (case.quick or not given.quick):
            entrants = [entrant(name, case, given.dtype) for name in names]
            rounds = QUICK_ROUNDS if given.quick else ROUNDS
            measured = interleaved.measure(entrants, rounds, LEAST_SECONDS, given.threads)
            record(measured_cases, case, measured, given.dtype)
            print(results.line(measured_cases, case.name, case.quantity), flush=True)
    print(results.write(measured_cases, given.out))


if __name__ == "__main__":
    main()
