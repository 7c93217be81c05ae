"""A made-up study: folders as drivers/study.py leaves them, with numbers whose statistics are known."""

import json

from keras_norms import recipes
from keras_norms.recipes import references

STUDY = recipes.Study(
    "Made up: a | b & <c>", "Is a better than b?", ("a", "b", "c", "d"), "a", "a paper, https://arxiv.org/abs/1"
)

ENVIRONMENT = {
    "started": "2026-01-02T03:04:05+00:00", "keras_norms": "0.1.0", "keras": "3.15.1", "tensorflow": "2.21.0",
    "commit": "0123abc", "python": "3.11.7", "machine": "Linux-x86_64", "cores": 2,
    "devices": ["/job:localhost/replica:0/task:0/device:CPU:0"], "TF_ENABLE_ONEDNN_OPTS": "1",
}  # fmt: skip


def reference(value, metric="top1_accuracy", log_loss=2.5, defects=()):
    return references.Reference("table", "row", "ILSVRC-2012", metric, value, "log_loss", log_loss, "a paper", defects)


def published(name, *found, label=None, curve=None, unlike=(), **entries):
    recipe = recipes.Recipe(arch="caffenet128", name=name, dataset="imagenet2012", epochs=64, **entries)
    return recipes.Published(recipe, label or f"Row {name}", found, 1, 1.0, curve=curve, unlike=unlike)


PUBLISHED = {
    "a": published("a", reference(0.5), curve="curve_a"),
    "b": published("b", reference(0.55), label="b | <i> & `code` $x$"),
    "c": published("c", reference(0.45), normalization="none"),
    "d": published("d"),
}
CURVE = [
    {"epoch": 10.0, "test_accuracy": 0.2, "train_loss": None, "seconds": None},
    {"epoch": 40.0, "test_accuracy": 0.5, "train_loss": None, "seconds": None},
]


def write_study(folder, seeds, name="made_up", overrides=None):
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "study": name, "command": f"python drivers/study.py {name}", "overrides": overrides or {}, "seeds": seeds,
        "settings": {},
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(told))


def write_run(folder, accuracies, losses=None, seconds=10.0, ended=True, settings=None, **result):
    """Writes the folder of a run whose test had these accuracies, one an epoch."""
    losses = losses or [2.0 / (epoch + 1) for epoch in range(len(accuracies))]
    folder.mkdir(parents=True)
    settings = {
        "dataset": "imagenette128",
        "epochs": len(accuracies),
        "steps": None,
        "batch_size": 64,
        **(settings or {}),
    }
    (folder / "config.json").write_text(json.dumps({"settings": settings, "environment": ENVIRONMENT}))
    lines = ["epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,step,best_val_accuracy,mean_val_accuracy"]
    for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True)):
        lines.append(f"{epoch},{loss},0.5,1.5,{accuracy},0.1,{10 * epoch + 10},{max(accuracies[: epoch + 1])},0.5")
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    speeds = [f"{epoch},{seconds},100,0.1,1000,0" for epoch in range(len(accuracies))]
    header = "epoch,seconds,images_per_second,waiting_share,memory,device_memory"
    (folder / "speed.csv").write_text("\n".join([header, *speeds]) + "\n")
    if ended:
        told = {
            "test_accuracy": accuracies[-1], "mean_test_accuracy": 0.5, "best_test_accuracy": max(accuracies),
            "test_loss": 1.5, "train_loss": losses[-1], "train_accuracy": 0.5, "epochs": len(accuracies),
            "test_examples": 10000, "steps": 10 * len(accuracies), "trainable_parameters": 1234567, **result,
        }  # fmt: skip
        (folder / "result.json").write_text(json.dumps(told))


def write_failure(folder, error):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failure.json").write_text(json.dumps({"error": error}))


def write_probe(folder, norms, gradients=None):
    """Writes a `probe.csv`: norms and gradients are dicts by step of lists by depth."""
    (folder / "probe").mkdir(parents=True)
    lines = ["step,depth,layer,weight,quantity,value"]
    for step, values in norms.items():
        lines.append(f"{step},,,,loss,1.5")
        lines += [f"{step},{depth},layer{depth},,output_norm,{value}" for depth, value in enumerate(values)]
        for depth, pair in (gradients or {}).get(step, {}).items():
            lines += [f"{step},{depth},layer{depth},w{place},gradient_norm,{value}" for place, value in enumerate(pair)]
    (folder / "probe" / "probe.csv").write_text("\n".join(lines) + "\n7,3,broken off")


def write(folder):
    """Writes a study in which one row has ended, one partly, one has failed, and one is missing. Returns its folder."""
    write_study(folder, 3, overrides={"dataset": "imagenette128"})
    for seed, accuracy in enumerate((0.50, 0.60, 0.70)):
        write_run(folder / "a" / str(seed), [0.1, accuracy - 0.1, accuracy], seconds=100 + seed)
    for seed, accuracy in enumerate((0.55, 0.64)):
        write_run(folder / "b" / str(seed), [0.1, accuracy])
    write_failure(folder / "b" / "2", "The loss was | <nan> & more.")
    test = {"top_1": 0.52, "log_loss": 1.5, "protocol": "statistics of each batch of 20", "statistics": "batch"}
    (folder / "b" / "0" / "test-batch-20.json").write_text(json.dumps(test))
    for seed in range(3):
        write_failure(folder / "c" / str(seed), "All of it failed.")
    norms = {step: [1.0 + step, 10.0, 100.0] for step in (0, 10, 20)}
    write_probe(folder / "a" / "0", norms, {step: {1: (3.0, 4.0)} for step in norms})
    return folder
