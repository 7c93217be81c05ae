import numpy as np
import pytest
import tensorflow as tf

from keras_norms.data import views
from keras_norms.data.pipeline import Preprocessing

MEAN, DEVIATION = np.array([100.0, 50, 10]), np.array([50.0, 20, 5])


@pytest.fixture
def prepare():
    return Preprocessing(16, tuple(MEAN), tuple(DEVIATION))


def images(shape, count=3):
    return np.random.default_rng(0).integers(0, 256, (count, *shape, 3), "uint8")


def canvas(image, size):
    """The image with the room around it, in float64: padded, or resized by its shorter side."""
    if image.shape[:2] == (size, size):
        margin = size // 8
        return np.pad((image - MEAN) / DEVIATION, ((margin, margin), (margin, margin), (0, 0)))
    wanted = [round(side * (size + size // 8) / min(image.shape[:2])) for side in image.shape[:2]]
    resized = tf.image.resize(image.astype("float64"), wanted, antialias=True).numpy().astype("float64")
    return (resized - MEAN) / DEVIATION


@pytest.mark.parametrize("shape", [(16, 16), (30, 20), (7, 9), (64, 64)])
def test_ten_crops_are_corners_and_centre_and_their_mirror_images(prepare, shape):
    view = views.TenCrops(prepare)
    stored = images(shape)
    shown = view(tf.constant(stored), tf.zeros((3, 3))).numpy()
    assert shown.shape == (3, *view.shape, 3)
    for image, crops in zip(stored, shown, strict=True):
        whole = canvas(image, 16)
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
        whole = canvas(image, 16)
        top, left = int(down * (whole.shape[0] - 15)), int(along * (whole.shape[1] - 15))
        expected = whole[top : top + 16, left : left + 16]
        expected = expected[:, ::-1] if mirrored < 0.5 else expected
        np.testing.assert_allclose(view, expected, rtol=1e-5, atol=5e-5)
