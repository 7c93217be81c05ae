"""Measures how a training step grows: with replicas, with workers, with layers and with channels.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --quick --cases replicas

On one machine the replicas and the workers share its cores: with a batch of one global size a step should take as long
on three as on one, and what it takes longer is what they cost. Layers: residual networks of 20 to 110 layers, ours and
of stock Keras. Channels: a chain of four convolutions with batch norm.
"""

from benchmarks.contest import entrant, interleaved, options, results

ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "1"}
STEPS = 10
ROUNDS, QUICK_ROUNDS = 4, 2
COUNTS = (1, 2, 3)
RESIDUAL = {
    "keras_norms": ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
    "keras": ("resnet20", "resnet56", "resnet110"),
}
CHANNELS = (16, 32, 64, 128)


def main(arguments=None):
    given = options.parse(options.parser(__doc__), arguments)
    record = results.new("scaling", given)
    for group in (replicas(),) if given.quick else (replicas(), workers(), layers(), channels()):
        chosen = {pair: value for pair, value in group.items() if given.cases in pair[0] and given.entrants in pair[1]}
        if chosen:
            measure(record, chosen, given)
    print(results.write(record, given.out))


def measure(record, group, given):
    """Adds the seconds of a step of the cases of a group, which are measured in turns.

    Args:
        group: Dict from pairs of a case and the name of an entrant to the `Entrant` and the steps of a repeat.
    """
    rounds = QUICK_ROUNDS if given.quick else ROUNDS
    measured = interleaved.measure([made for made, _ in group.values()], rounds, threads=given.threads)
    for (case, name), (made, steps) in group.items():
        found = measured[made.name]
        if found.seconds:
            results.add(record, case, name, "step", "s", [seconds / steps for seconds in found.seconds])
        if found.failed:
            results.absent(record, case, name, found.failed)
    for case in dict.fromkeys(case for case, _ in group):
        print(results.line(record, case, "step"), flush=True)


def replicas():
    make = "scaling_steps:make_replicas"
    return dict(of(make, f"{n} replicas", {"replicas": n, "steps": STEPS}, steps=STEPS) for n in COUNTS)


def workers():
    make = "scaling_steps:make_workers"
    return dict(of(make, f"{n} workers", {"workers": n, "steps": STEPS}, steps=STEPS) for n in COUNTS)


def layers():
    shape = {"normalization": "batch_norm_before", "batch": 32, "size": 32, "classes": 10}
    return dict(
        of(f"step_tensorflow:make_{name}", f"{arch}, batch 32", {"arch": arch, **shape}, name)
        for name, networks in RESIDUAL.items()
        for arch in networks
    )


def channels():
    make = "scaling_steps:make_channels"
    return dict(of(make, f"{n} channels, batch 64", {"channels": n, "batch": 64}) for n in CHANNELS)


def of(make, case, arguments, name="keras_norms", steps=1):
    """Returns the pair of a case and a name, with the `Entrant` and the steps of its repeat."""
    made = entrant.Entrant(f"{case}, {name}", f"benchmarks.peers.{make}", arguments, ONEDNN)
    return (case, name), (made, steps)


if __name__ == "__main__":
    main()
