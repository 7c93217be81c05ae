"""Imports point down the house, and the portable half of it knows no backend."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "keras_norms"
BELOW = {
    "ops": set(),
    "data": set(),
    "recipes": set(),
    "reports": {"recipes"},
    "layers": {"ops"},
    "initializers": {"ops", "layers"},
    "surgery": {"ops", "layers"},
    "models": {"layers", "initializers"},
    "probe": {"ops", "layers"},
    "training": {"layers", "models", "initializers", "surgery", "data", "recipes", "probe"},
    "export": {"surgery", "data"},
}
PORTABLE = {"ops", "layers", "initializers", "surgery", "models", "probe"}
BACKENDS = {"tensorflow", "jax", "torch"}


def imported_names(path):
    """Yields the full name of all the file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).parts[0]
    for name in imported_names(path):
        package, _, rest = name.partition(".")
        if package == "keras_norms":
            assert rest.split(".")[0] in BELOW[own] | {own, "version"}, name
        if own in PORTABLE and not path.stem.endswith(f"_{package}"):
            assert package not in BACKENDS, name


def test_importing_the_package_imports_nothing_that_only_drivers_need():
    program = (
        "import sys, keras_norms\n"
        "drivers_only = {'tensorflow_datasets', 'matplotlib', 'absl.app', 'absl.flags', 'tensorboard', 'PIL'}\n"
        "print(sorted(drivers_only & (set(sys.modules) - before)))"
    )
    program = "import sys, keras\nbefore = set(sys.modules)\n" + program
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
