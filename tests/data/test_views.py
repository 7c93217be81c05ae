import numpy as np
import pytest
import tensorflow as tf

from keras_norms.data import views
from keras_norms.data.pipeline import Preprocessing

MEAN, DEVIATION = np.array([100.0, 50, 10]), np.array([50.0, 20, 5])


@pytest.fixture(params=[None, 0, 5], ids="margin={}".format)
def prepare(request):
    return Preprocessing(16, tuple(MEAN), tuple(DEVIATION), request.param)


def images(shape, count=3):
    return np.random.default_rng(0).integers(0, 256, (count, *shape, 3), "uint8")


def canvas(image, size, margin):
    """The image with the room around it, in float64: padded, or resized by its shorter side."""
    if image.shape[:2] == (size, size):
        return np.pad((image - MEAN) / DEVIATION, ((margin, margin), (margin, margin), (0, 0)))
    wanted = [round(side * (size + margin) / min(image.shape[:2])) for side in image.shape[:2]]
    resized = tf.image.resize(image.astype("float64"), wanted, antialias=True).numpy().astype("float64")
    return (resized - MEAN) / DEVIATION


@pytest.mark.parametrize("shape", [(16, 16), (30, 20), (7, 9), (64, 64)])
def test_ten_crops_are_corners_and_centre_and_their_mirror_images(prepare, shape):
    view = views.TenCrops(prepare)
    stored = images(shape)
    shown = view(tf.constant(stored), tf.zeros((3, 3))).numpy()
    assert shown.shape == (3, *view.shape, 3)
    for image, crops in zip(stored, shown, strict=True):
        whole = canvas(image, 16, prepare.margin)
        bottom, right = (side - 16 for side in whole.shape[:2])
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
        plain = np.stack([whole[top : top + 16, left : left + 16] for top, left in corners])
        # float32 of values up to 50, after a resize of pixels up to 255.
        np.testing.assert_allclose(crops, np.concatenate([plain, plain[:, :, ::-1]]), rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("shape", [(16, 16), (30, 20)])
def test_the_fifth_of_ten_crops_is_the_centre(prepare, shape):
    stored = tf.constant(images(shape))
    centre = views.Centre(prepare)(stored, tf.zeros((3, 3)))
    np.testing.assert_array_equal(views.TenCrops(prepare)(stored, tf.zeros((3, 3)))[:, 4], centre)


@pytest.mark.parametrize("shape", [(16, 16), (30, 20)])
def test_chances_choose_the_window_of_each_image(prepare, shape):
    stored = images(shape)
    chances = np.array([[0, 0, 0.9], [0.999, 0.999, 0.1], [0.5, 0.2, 0.49]], "float32")
    shown = views.Random(prepare)(tf.constant(stored), tf.constant(chances)).numpy()
    for image, (down, along, mirrored), view in zip(stored, chances, shown, strict=True):
        whole = canvas(image, 16, prepare.margin)
        top, left = int(down * (whole.shape[0] - 15)), int(along * (whole.shape[1] - 15))
        expected = whole[top : top + 16, left : left + 16]
        expected = expected[:, ::-1] if mirrored < 0.5 else expected
        np.testing.assert_allclose(view, expected, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("side", [10, 16, 40])
def test_without_a_margin_the_whole_image_is_resized_and_nothing_is_cropped(side):
    prepare = Preprocessing(16, tuple(MEAN), tuple(DEVIATION), margin=0)
    stored = images((side, side))
    resized = tf.image.resize(stored, (16, 16), antialias=side > 16).numpy().astype("float64")
    expected = (resized - MEAN) / DEVIATION
    chances = tf.constant([[0, 0, 0.9], [0.999, 0.999, 0.9], [0.5, 0.2, 0.9]])
    for view in (views.Centre(prepare), views.Random(prepare), views.Random(prepare, crop=False)):
        np.testing.assert_allclose(view(tf.constant(stored), chances), expected, rtol=1e-5, atol=5e-5)
    crops = views.TenCrops(prepare)(tf.constant(stored), chances).numpy()
    for crop in range(5):
        np.testing.assert_array_equal(crops[:, crop], crops[:, 0])
        np.testing.assert_array_equal(crops[:, 5 + crop], crops[:, 0, :, ::-1])
    np.testing.assert_allclose(crops[:, 0], expected, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize(("side", "margin"), [(10, 0), (40, 4)])
def test_the_shorter_side_is_longer_than_the_view_by_the_margin(side, margin):
    """Of images that rise by one a pixel downwards the view shows how far its rows are apart."""
    prepare = Preprocessing(16, (0.0,), (1.0,), margin)
    stored = np.broadcast_to(np.arange(side, dtype="uint8")[:, None, None], (1, side, 2 * side, 1))
    rows = views.Centre(prepare)(tf.constant(stored), tf.zeros((1, 3))).numpy()[0, :, 8, 0]
    # But for the first and last row, where a resize has no neighbour on one side.
    np.testing.assert_allclose(np.diff(rows)[2:-2], side / (16 + margin), rtol=1e-4)
    np.testing.assert_allclose(rows.mean(), (side - 1) / 2, rtol=1e-5)
