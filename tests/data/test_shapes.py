import hashlib

import numpy as np
import pytest

from keras_norms.data import figures, shapes

# Areas from geometry: the crescent is a disc less the lens that two circles share, the star is a pentagram.
LENS = (
    np.arccos((0.45**2 + 1 - 0.85**2) / (2 * 0.45))
    + 0.85**2 * np.arccos((0.45**2 + 0.85**2 - 1) / (2 * 0.45 * 0.85))
    - 0.5 * np.sqrt((1.85 - 0.45) * (0.45 + 0.15) * (0.45 - 0.15) * (1.85 + 0.45))
)
AREAS = {
    "disc": np.pi,
    "ring": np.pi * (1 - 0.6**2),
    "half_disc": np.pi * 0.95**2 / 2,
    "crescent": np.pi - LENS,
    "triangle": 3 * np.sqrt(3) / 4,
    "square": 1.4**2,
    "bar": 1.92 * 0.5,
    "cross": 2 * 1.9 * 0.56 - 0.56**2,
    "star": 10 * np.tan(np.pi / 10) / (3 - np.tan(np.pi / 10) ** 2),
    "heart": 2 * 0.78**2 + np.pi * 0.78**2 / 2,
}
POINTS = 800
STEP = 2.4 / POINTS


@pytest.fixture(params=shapes.CLASS_NAMES)
def figure(request):
    return figures.FIGURES[request.param]


@pytest.fixture
def plane():
    """Points on the square from -1.2 to 1.2, at the centres of cells; symmetric about zero to the last bit."""
    x = (np.arange(POINTS, dtype="float32") + 0.5 - POINTS / 2) * STEP
    return np.meshgrid(x, x)


def turned(plane):
    """The points in a turned frame, in which no side of a figure runs along the rows of cells."""
    x, y = plane
    return 0.8 * x + 0.6 * y, 0.8 * y - 0.6 * x


def test_area_is_that_of_the_figure(figure, plane):
    share = np.mean(figure(*turned(plane)) > 0)
    # A border no longer than 8 crosses some 8 / STEP cells, and errs in each by half a cell to either side.
    tolerance = 5 * 0.5 * np.sqrt(8 / STEP) * STEP**2
    np.testing.assert_allclose(share * 2.4**2, AREAS[figure.__name__], atol=tolerance, rtol=0)


def test_figure_is_its_own_mirror_image(figure, plane):
    x, y = plane
    np.testing.assert_array_equal(figure(-x, y), figure(x, y))


def test_figure_fits_the_unit_disc(figure, plane):
    x, y = plane
    assert np.all(figure(x, y)[x * x + y * y > 1] < 0)


def test_depth_changes_as_fast_as_the_distance(figure, plane):
    slopes = [np.diff(figure(*turned(plane)).astype("float64"), axis=axis) / STEP for axis in (0, 1)]
    # Depths below 2 have a last bit of 1.2e-7 and some rounded operations before it, against a step of 0.003.
    assert max(np.abs(slope).max() for slope in slopes) < 1 + 3e-4
    # Where no corner lies between the three points.
    np.testing.assert_allclose(np.median(slopes[0][:, :-1] ** 2 + slopes[1][:-1] ** 2), 1, atol=3e-3)


def test_every_machine_draws_the_same_bits():
    drawn = hashlib.sha256()
    for split, image_size, examples in [("train", 32, 20), ("test", 45, 13)]:
        drawn.update(shapes.render(split, image_size, examples, seed=7)[0].tobytes())
    assert drawn.hexdigest() == "9972934735475ad15198ea5e4be52a1910668c26f83d0470a1a7d4a1e28c8116"


def test_random_bits_are_those_of_splitmix64():
    # The first outputs of the authors' program for the seed 1234567: state k is seed + k * golden ratio.
    streams = shapes._Streams(np.array([1234567], "uint64"))
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert streams.bits(3).tolist() + streams.bits(1).tolist() == [expected[:3], expected[3:]]


@pytest.mark.parametrize(("split", "examples"), [("train", shapes.TRAIN_EXAMPLES), ("test", shapes.TEST_EXAMPLES)])
def test_a_split_is_balanced(split, examples):
    images, labels = shapes.render(split, 16)
    assert images.shape == (examples, 16, 16, 3)
    assert images.dtype == "uint8"
    assert labels.dtype == "int32"
    np.testing.assert_array_equal(np.bincount(labels), [examples // 10] * 10)


@pytest.mark.parametrize("examples", [1, 9, 77])
def test_fewer_examples_are_the_beginning_of_more(examples):
    few, more = (shapes.render("train", 40, count, seed=3) for count in (examples, 150))
    for start, whole in zip(few, more, strict=True):
        np.testing.assert_array_equal(start, whole[:examples])


def test_no_image_comes_twice_in_splits_and_seeds():
    images = [shapes.render(split, 16, 2000, seed)[0] for split in ("train", "test") for seed in (0, 1)]
    assert len({image.tobytes() for image in np.concatenate(images)}) == 8000


def test_an_example_is_the_same_scene_at_every_size():
    small = shapes.render("test", 16, 50)[0].astype("float64")
    large = shapes.render("test", 64, 50)[0].reshape(50, 16, 4, 16, 4, 3).mean((2, 4))
    distances = np.abs(small[:, None] - large[None]).mean((2, 3, 4))
    np.testing.assert_array_equal(distances.argmin(1), np.arange(50))


def test_an_integer_of_numpy_is_an_image_size():
    images = [shapes.render("train", size, 2000)[0] for size in (21, np.int64(21))]
    np.testing.assert_array_equal(*images)


def test_the_figure_stands_out_and_has_the_area_of_its_class(monkeypatch):
    monkeypatch.setattr(shapes, "_stroke", lambda streams, x, y: np.float32(-1))
    monkeypatch.setattr(shapes, "_noise", lambda streams, image_size: 0)
    images, labels = shapes.render("test", 64)
    ground = images[:, :1, :1]  # No figure reaches into the corner.
    images = np.where(ground > 127, 255 - images, images) / 255
    assert np.all((ground > 127) == (ground[..., :1] > 127))
    # All but the border, at most 8 * 0.75 * 32 pixels long and two wide.
    assert np.mean((images < 0.505) | (images > 0.695), axis=(1, 2, 3)).min() > 1 - 8 * 0.75 * 32 * 2 / 64**2
    areas = 4 * np.mean(images > 0.6, axis=(1, 2, 3))
    # The mean and the variance of the square of a number uniform from 0.35 to 0.75, and 200 images a class.
    mean, square = ((0.75**k - 0.35**k) / (0.4 * k) for k in (3, 5))
    for label, name in enumerate(shapes.CLASS_NAMES):
        tolerance = 5 * np.sqrt((square - mean**2) / 200)
        np.testing.assert_allclose(areas[labels == label].mean() / AREAS[name], mean, atol=tolerance, rtol=0)


def test_a_linear_classifier_fails():
    (x, labels), (x_test, labels_test) = (shapes.render(split, 32) for split in ("train", "test"))
    x, x_test = (np.float32(images.reshape(len(images), -1) / 127.5 - 1) for images in (x, x_test))
    targets = np.eye(10, dtype="float32")[labels] - 0.1
    covariance, correlation = x.T @ x, x.T @ targets
    # Ridge regression, from overfitting the training images to barely looking at them.
    for penalty in (1e2, 1e3, 1e4, 1e5):
        weights = np.linalg.solve(covariance + penalty * np.eye(len(covariance), dtype="float32"), correlation)
        assert np.mean((x_test @ weights).argmax(1) == labels_test) < 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "`split` must be one of .* Received: split='valid'"),
        ({"image_size": 15}, "`image_size` must be at least 16 pixels. Received: image_size=15"),
        ({"examples": 0}, "`examples` must be from 1 to 2000 for 'test'. Received: examples=0"),
        ({"examples": 2001}, "`examples` must be from 1 to 2000 for 'test'. Received: examples=2001"),
        ({"seed": -1}, "`seed` must be from 0 to .* Received: seed=-1"),
        ({"seed": 2**64}, "`seed` must be from 0 to .* Received: seed=18446744073709551616"),
    ],
)
def test_refuses_what_it_cannot_draw(arguments, message):
    with pytest.raises(ValueError, match=message):
        shapes.render(**{"split": "test", "image_size": 32, "examples": 10, **arguments})
