"""A server that is asked: stubs that run real SavedModels, and a real server if the environment names one."""

import contextlib
import os

import numpy as np
import pytest

from tests.serving import core, stubs, tiny


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders of SavedModels: "1" and "2", "broken" with NaN, and "older" with `serving_default` alone."""
    folder = tmp_path_factory.mktemp("models")
    for version, kernel in tiny.KERNELS.items():
        tiny.write(folder / str(version), kernel)
    tiny.write(folder / "broken", np.full_like(tiny.KERNELS[1], np.nan))
    tiny.write(folder / "older", tiny.KERNELS[1], only="serving_default")
    return folder


@pytest.fixture(scope="session")
def versions(folders):
    return {path.name: core.Version(path) for path in folders.iterdir()}


@pytest.fixture
def served(versions):
    """What the stubs serve."""
    models = {
        "colours": {
            2: versions["1"],
            3: versions["2"],
            10: core.Version(state="LOADING"),
            11: core.Version(state="END", problem="No such file"),
        },
        "broken": {1: versions["broken"]},
        "older": {1: versions["older"]},
        "starting": {1: core.Version(state="START")},
    }
    return core.Core(models, labels={("colours", "stable"): 2, ("colours", "canary"): 3})


@pytest.fixture(params=["rest", "grpc"])
def stub(request, served):
    """The name of an API and the address of a stub that speaks it."""
    start = stubs.rest if request.param == "rest" else stubs.grpc_server
    with start(served) as address:
        yield request.param, address


@pytest.fixture
def both(served):
    """The addresses of two stubs of the same, by API."""
    with contextlib.ExitStack() as stack:
        yield {
            "rest": stack.enter_context(stubs.rest(served)),
            "grpc": stack.enter_context(stubs.grpc_server(served)),
        }


@pytest.fixture(params=["rest", "grpc"])
def real(request):
    """API, address and model of a real server."""
    if "TF_SERVING_URL" not in os.environ:
        pytest.skip("no TensorFlow Serving: set TF_SERVING_URL (http://host:8501) to the REST address of one")
    if request.param == "rest":
        address = os.environ["TF_SERVING_URL"]
    elif "TF_SERVING_GRPC" in os.environ:
        address = os.environ["TF_SERVING_GRPC"]
    else:
        pytest.skip("no gRPC port: set TF_SERVING_GRPC (host:8500) to that of the server of TF_SERVING_URL")
    return request.param, address, os.environ.get("TF_SERVING_MODEL", "resnet20_fashion_mnist")
