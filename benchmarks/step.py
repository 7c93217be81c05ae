"""Measures a whole training step, forward, backward and update, of four networks on one batch held in memory.

    python -m benchmarks.step
    python -m benchmarks.step --quick --cases resnet20
    python -m benchmarks.step --batch_factor 8 --dtype mixed_bfloat16 --label h100

All normalizations of a network are measured in one contest, so that the cost of one, a difference of two steps, is
taken on the same machine in the same minutes; where memory is short, without and with batch norm are still together.
`keras_norms` makes the step of its own training loop, stock Keras the one of `fit`, PyTorch the usual five lines, with
channels last. All have stochastic gradient descent with momentum and weight decay. On the JAX backend the step is one
compiled function. Peak memory is what the process grew by, or on a GPU what its framework has held at most.
"""

import dataclasses

from benchmarks.contest import interleaved, machine, options, results
from benchmarks.contest.entrant import DEFAULT, ONEDNN_OFF, Entrant, onednn

NORMALIZATIONS = ["none", "batch_norm_before", "batch_norm_after", "weight_norm", "normprop", "weight_norm_trelu"]
# What the others have a layer for.
OF_KERAS = NORMALIZATIONS[:3]
OF_TORCH = NORMALIZATIONS[:4]


@dataclasses.dataclass(frozen=True)
class Network:
    """What is measured of a network.

    Attributes:
        batch, size, classes: Integers, the images of a step, their height and width, and the length of the logits.
        rounds: Integer.
        entrants: Dict from normalizations to the entrants on a CPU beside `keras_norms`.
        quick_rounds: Integer, or None for a network that is not in the quick run.
        together: Integer, how many entrants 24 GiB of memory have room for, or None for all.
    """

    batch: int
    size: int
    classes: int
    rounds: int
    entrants: dict
    quick_rounds: int | None = None
    together: int | None = None


PEERS = ["keras", "torch"]
# Large networks take ten seconds and more to be built and warmed up: their peers are those with a figure to reach.
FEW = {"none": PEERS, "batch_norm_before": [*PEERS, DEFAULT]}
MORE = {"none": PEERS, "batch_norm_before": [*PEERS, DEFAULT, "torch compiled"], "weight_norm": ["torch"]}
ALL = {
    "none": [*PEERS, "torch compiled"],
    "batch_norm_before": [*PEERS, DEFAULT, ONEDNN_OFF, "torch compiled", "keras_norms on jax", "keras on jax"],
    "batch_norm_after": PEERS,
    "weight_norm": ["torch"],
}
NETWORKS = {
    "resnet20": Network(128, 32, 10, rounds=9, quick_rounds=3, entrants=ALL),
    "caffenet128": Network(64, 128, 1000, rounds=5, quick_rounds=2, entrants=MORE),
    "googlenet128": Network(32, 128, 1000, rounds=5, together=6, entrants=FEW),
    "resnet50": Network(16, 224, 1000, rounds=5, together=6, entrants=FEW),
}
QUICK = {"none": PEERS, "batch_norm_before": PEERS}


def contest(arch, quick):
    """Returns the pairs of a normalization and the name of an entrant that a network is measured with."""
    if quick:
        return [(normalization, name) for normalization, peers in QUICK.items() for name in ["keras_norms", *peers]]
    if machine.gpus():
        return [(normalization, name) for normalization in NORMALIZATIONS for name in on_gpu(arch, normalization)]
    entrants = NETWORKS[arch].entrants
    return [(normalization, name) for normalization in NORMALIZATIONS for name in on_cpu(normalization, entrants)]


def on_cpu(normalization, entrants):
    return ["keras_norms", *entrants.get(normalization, [])]


def on_gpu(arch, normalization):
    """Returns the entrants on a GPU, where the JAX backend and compiled PyTorch are worth their time everywhere."""
    names = ["keras_norms", "keras_norms on jax"]
    if normalization in OF_KERAS:
        # Keras has no local response normalization on JAX.
        names += ["keras", *([] if arch == "googlenet128" else ["keras on jax"])]
    if normalization in OF_TORCH:
        names += ["torch", "torch compiled"]
    return names


def entrant(name, arch, normalization, given):
    """Returns the `Entrant` of a name in a case, called by both: a contest has several cases."""
    network = NETWORKS[arch]
    arguments = {
        "arch": arch,
        "normalization": normalization,
        "batch": network.batch * given.batch_factor,
        "size": network.size,
        "classes": network.classes,
        "dtype": given.dtype,
    }
    called = f"{case(arch, normalization)}, {name}"
    library, _, backend = name.partition(" on ")
    if name.startswith("torch"):
        arguments["compiled"] = name == "torch compiled"
        return Entrant(called, "benchmarks.peers.step_torch:make", arguments, interpreter="backends")
    if backend:
        arguments["stock"] = library == "keras"
        environment = {"KERAS_BACKEND": backend}
        return Entrant(called, "benchmarks.peers.step_jax:make", arguments, environment, "backends")
    make = "make_keras_norms" if name == "keras_norms" else "make_keras"
    return Entrant(called, f"benchmarks.peers.step_tensorflow:{make}", arguments, onednn(name))


def case(arch, normalization):
    return f"{arch}, {normalization}"


def measure(record, arch, entrants, given):
    """Adds what entrants, by normalization and name, do with a network to the record."""
    network = NETWORKS[arch]
    rounds = network.quick_rounds if given.quick else network.rounds
    found = interleaved.measure(list(entrants.values()), rounds, threads=given.threads, together=network.together)
    for (normalization, name), one in entrants.items():
        measured = found[one.name]
        results.add_measured(record, case(arch, normalization), name, measured, "step")
        if measured.first_seconds is not None:
            results.add(record, case(arch, normalization), name, "first step", "s", [measured.first_seconds])
    for normalization in dict.fromkeys(normalization for normalization, _ in entrants):
        print(results.line(record, case(arch, normalization), "step"), flush=True)


def chosen(record, arch, given):
    """Returns the entrants of a network that the options ask for, by normalization and name."""
    entrants = {}
    for normalization, name in contest(arch, given.quick):
        if given.cases not in case(arch, normalization) or given.entrants not in name:
            continue
        if name == DEFAULT and arch != "resnet20" and record["machine"]["onednn by default"]:
            results.absent(record, case(arch, normalization), name, "as keras, for oneDNN is on by default here")
        else:
            entrants[normalization, name] = entrant(name, arch, normalization, given)
    return entrants


def main(arguments=None):
    parser = options.parser(__doc__)
    parser.add_argument("--dtype", choices=["float32", "mixed_bfloat16"], default="float32", help="of the activations")
    parser.add_argument("--batch_factor", type=int, default=1, help="times the batches: 8 and more to fill a GPU")
    given = options.parse(parser, arguments)
    record = results.new("step", given)
    for arch, network in NETWORKS.items():
        entrants = chosen(record, arch, given) if network.quick_rounds or not given.quick else {}
        if entrants:
            measure(record, arch, entrants, given)
    print(results.write(record, given.out))


if __name__ == "__main__":
    main()
