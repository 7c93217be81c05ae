"""Where the numbers of a study come from: command, commit, versions and machine."""

from keras_norms.reports import blocks

_FROM_ENVIRONMENT = {
    "Commit": ("commit",),
    "Versions": ("keras_norms", "keras", "tensorflow", "python"),
    "Machine": ("machine", "cores", "devices"),
    "Environment": ("TF_ENABLE_ONEDNN_OPTS",),
}


def parts(found):
    """Returns blocks that tell how a study was run.

    Args:
        found: `results.Results`.
    """
    environments = [run.environment for run in found.runs if run.environment]
    items = [_changed(found.overrides)]
    started = sorted(environment["started"] for environment in environments)
    if started:
        items.append(f"First run started {started[0]}, last run started {started[-1]}")
    for title, names in _FROM_ENVIRONMENT.items():
        values = dict.fromkeys(_described(environment, names) for environment in environments)
        if any(values):
            items.append(f"{title}: {'; '.join(filter(None, values))}")
    return [blocks.Code(found.command), blocks.Bullets(tuple(items))]


def _changed(overrides):
    if not overrides:
        return "Nothing was changed in the recipes."
    return f"Changed in all recipes: {', '.join(f'{name}={value}' for name, value in overrides.items())}"


def _described(environment, names):
    """Returns entries of the environment of a run as text."""
    known = {name: environment[name] for name in names if environment.get(name) is not None}
    known["devices"] = [device.rpartition("device:")[2] for device in known.get("devices", ())]
    return ", ".join(
        " ".join([name] * (name not in ("commit", "machine")) + [", ".join(value) if name == "devices" else str(value)])
        for name, value in known.items()
        if value != []
    )
