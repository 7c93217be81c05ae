"""Clients and a server: answers, and what is said when there are none.

The stubs decide by TensorFlow Serving's rules and run real SavedModels; `test_real_server` does the same with a server
that the environment names.
"""

import numpy as np
import pytest

from keras_norms.export import clients
from tests.serving import tiny
from tests.serving.core import StatusError

COLOURS = [(250, 3, 9), (10, 10, 10), (4, 240, 30), (200, 210, 205), (90, 20, 255)]
TRUNCATED = tiny.file((1, 2, 3))[:40]


def connected(stub, model="colours", patience=clients.Patience(20, 0), **which):  # noqa: B008  # frozen
    api, address = stub
    return clients.connect(api, clients.Server(address), clients.Target(model, **which), patience)


def failure(stub, model="colours", **which):
    """Returns the exception in place of an answer about an image."""
    with connected(stub, model, **which) as client, pytest.raises(clients.ServingError) as found:
        client.ask([tiny.file(COLOURS[0])])
    return found.value


def expected(colour, version):
    """Returns the five classes and their probabilities, by the formula."""
    probabilities = tiny.probabilities(colour, tiny.KERNELS[version])
    order = np.argsort(-probabilities)[:5]
    return tuple(tiny.CLASS_NAMES[index] for index in order), probabilities[order]


def check(answer, colour, version):
    classes, scores = expected(colour, version)
    assert answer.classes == classes
    # float32, and the rounding of a mean over a few pixels
    np.testing.assert_allclose(answer.scores, scores, rtol=1e-5)


@pytest.fixture
def files(tmp_path):
    """Paths of images, a bad one at index 1, a file that is no image at 3, and none at 5."""
    good = iter(COLOURS)
    paths = [tmp_path / f"{index}.png" for index in range(8)]
    for index, path in enumerate(paths):
        content = {1: TRUNCATED, 3: b"some text", 5: None}.get(index, 0)
        if content is not None:
            path.write_bytes(content or tiny.file(next(good), size=(5 + index, 30)))
    return paths


@pytest.mark.parametrize("signature", clients.SIGNATURES)
@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_answers_are_those_of_the_model(stub, signature, form):
    with connected(stub, signature=signature) as client:
        answers = client.ask([tiny.file((255, 0, 0), form=form), tiny.file((0, 0, 0), form=form)])
    check(answers[0], (254, 0, 0) if form == "jpeg" else (255, 0, 0), 2)
    check(answers[1], (0, 0, 0), 2)


@pytest.mark.parametrize("signature", clients.SIGNATURES)
def test_rest_and_grpc_agree_to_the_bit(both, signature):
    images = [tiny.file(colour) for colour in COLOURS]
    found = {}
    for api, address in both.items():
        with connected((api, address), signature=signature, version=2) as client:
            found[api] = client.ask(images)
    as_float32 = [np.float32([answer.scores for answer in answers]) for answers in found.values()]
    np.testing.assert_array_equal(*as_float32)
    assert [a.classes for a in found["rest"]] == [a.classes for a in found["grpc"]]


@pytest.mark.parametrize("signature", clients.SIGNATURES)
@pytest.mark.parametrize(
    ("which", "answering", "weights"),
    [({}, 3, 2), ({"version": 2}, 2, 1), ({"label": "stable"}, 2, 1), ({"label": "canary"}, 3, 2)],
)
def test_versions_and_labels(stub, signature, which, answering, weights):
    with connected(stub, signature=signature, **which) as client:
        (answer,) = client.ask([tiny.file(COLOURS[0])])
    check(answer, COLOURS[0], weights)
    # REST does not say who answered.
    assert answer.version == (answering if stub[0] == "grpc" else which.get("version"))


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_bad_files_cost_their_own_answers_alone(stub, served, files, batch_size):
    with connected(stub) as client:
        found = list(clients.ask(client, files, batch_size))
    assert [path for path, _ in found] == files
    good = [answer for _, answer in found if isinstance(answer, clients.Answer)]
    for answer, colour in zip(good, COLOURS, strict=True):
        check(answer, colour, 2)
    bad = {index: answer for index, (_, answer) in enumerate(found) if not isinstance(answer, clients.Answer)}
    assert {index: type(error) for index, error in bad.items()} == {
        1: clients.RefusedError,
        3: ValueError,
        5: FileNotFoundError,
    }
    # Files that are no images are not sent. A refused batch is sent again one by one, others are not.
    sizes = {1: [1] * 6, 3: [3, 1, 1, 1, 1, 2], 50: [6] + [1] * 6}
    assert served.asked == sizes[batch_size]


def test_an_image_refused_says_what_the_server_says(stub):
    with (
        connected(stub) as client,
        pytest.raises(clients.RefusedError, match=r"The server refuses it: Invalid PNG[^\n]*$"),
    ):
        client.ask([TRUNCATED])


@pytest.mark.parametrize("signature", clients.SIGNATURES)
@pytest.mark.parametrize(
    ("model", "which", "words"),
    [
        ("unknown", {}, ["has no model 'unknown'"]),
        ("unknown", {"version": 2}, ["has no model 'unknown'"]),
        ("unknown", {"label": "stable"}, ["has no model 'unknown'"]),
        ("a/b c:d", {}, ["has no model 'a/b c:d'"]),
        (
            "colours",
            {"version": 7},
            ["version 7 of the model 'colours'", "2 AVAILABLE, 3 AVAILABLE, 10 LOADING, 11 END"],
        ),
        ("colours", {"version": 10}, ["does not serve version 10", "will answer in a while"]),
        ("colours", {"version": 11}, ["does not serve version 11", "11 END (No such file)"]),
        ("colours", {"label": "old"}, ["no label 'old'", "2 AVAILABLE"]),
        ("starting", {}, ["does not serve the model 'starting'", "1 START", "will answer in a while"]),
        ("older", {}, ["has no signature '{signature}'", "It has: serving_default."]),
    ],
)
def test_what_the_server_lacks_is_named(stub, signature, model, which, words):
    error = failure(stub, model, signature=signature, **which)
    for word in words:
        assert word.format(signature=signature) in str(error)
    assert not isinstance(error, clients.RefusedError)
    if which.get("version") in (7, 11):
        assert "in a while" not in str(error)


@pytest.mark.parametrize("signature", clients.SIGNATURES)
def test_nan_is_no_answer(stub, signature, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(tiny.file(COLOURS[0]))
    with connected(stub, "broken", signature=signature) as client:
        ((_, error),) = clients.ask(client, [path], 8)
    assert isinstance(error, clients.ServingError)
    assert "NaN" in str(error)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_busy_server_is_asked_again(stub, served, code):
    served.failures.extend([StatusError(code, "The batch scheduling queue is full")] * 2)
    with connected(stub, patience=clients.Patience(20, 2)) as client:
        check(client.ask([tiny.file(COLOURS[0])])[0], COLOURS[0], 2)
    assert not served.failures


def test_a_server_that_stays_busy_is_left_alone(stub, served):
    served.failures.extend([StatusError("UNAVAILABLE", "The batch scheduling queue is full")] * 9)
    error = failure(stub, patience=clients.Patience(20, 1))
    assert "answers UNAVAILABLE: The batch scheduling queue is full" in str(error)
    assert len(served.failures) == 9 - 2


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"])
def test_a_wrong_request_is_not_sent_again(stub, served, code):
    served.failures.extend([StatusError(code, "no")] * 9)
    failure(stub, patience=clients.Patience(20, 3))
    assert len(served.failures) == 9 - 1


def test_real_server(real, tmp_path):
    api, address, model = real
    files = {name: tmp_path / name for name in ("grey.png", "blue.jpg", "truncated.png")}
    files["grey.png"].write_bytes(tiny.file((99, 99, 99), (31, 57)))
    files["blue.jpg"].write_bytes(tiny.file((3, 5, 240), (90, 80), "jpeg"))
    files["truncated.png"].write_bytes(TRUNCATED)
    order = [files["grey.png"], files["truncated.png"], files["blue.jpg"]]
    found = {}
    for signature in clients.SIGNATURES:
        with connected((api, address), model, clients.Patience(60, 3), signature=signature) as client:
            grey, truncated, blue = (answer for _, answer in clients.ask(client, order, 8))
        assert isinstance(truncated, clients.RefusedError)
        for answer in (grey, blue):
            assert 1 <= len(answer.classes) == len(answer.scores) <= 5
            assert list(answer.scores) == sorted(answer.scores, reverse=True)
            assert 0 < sum(answer.scores) <= 1 + 1e-5
        found[signature] = np.array([grey.scores, blue.scores])
    np.testing.assert_allclose(*found.values(), rtol=1e-5)
    stub = (api, address)
    assert "has no model" in str(failure(stub, model + "_no"))
    assert "does not serve version" in str(failure(stub, model, version=987654321))
    assert "has no label" in str(failure(stub, model, label="no_such"))
