import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.data import pipeline


def prepared(size, channels=3):
    return pipeline.Preprocessing(size, (100.0,) * channels, (50.0,) * channels)


def taken(batches, count):
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def raw(split):
    return [(image.astype("float32"), int(label)) for image, label in split.as_numpy_iterator()]


def test_preprocessing_is_what_it_says():
    prepare = pipeline.Preprocessing(4, (1.0, 2.0, 3.0), (2.0, 4.0, 8.0))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), "uint8")
    np.testing.assert_allclose(prepare(pixels), (pixels - np.array([1, 2, 3.0])) / [2, 4, 8], rtol=1e-6)


def test_statistics_are_those_of_the_training_pixels(made):
    dataset = made()
    pixels = np.stack([image for image, _ in raw(dataset.train)]).reshape(-1, 3)
    prepare = pipeline.preprocessing(dataset, 8)
    np.testing.assert_allclose(prepare.mean, pixels.mean(0, dtype="float64"), rtol=1e-9)
    np.testing.assert_allclose(prepare.deviation, pixels.std(0, dtype="float64"), rtol=1e-9)


def test_epoch_shows_every_image_once_and_every_epoch_in_another_order(made):
    dataset = made()
    stream = pipeline.training_batches(dataset, prepared(8), 5, seed=1, crop=False, flip=False)
    batches = taken(stream, 8)
    originals = {((image - 100) / 50).tobytes() for image, _ in raw(dataset.train)}
    epochs = [[image.tobytes() for images, _ in batches[e : e + 4] for image in images] for e in (0, 4)]
    assert set(epochs[0]) == set(epochs[1]) == originals
    assert epochs[0] != epochs[1]


def test_labels_stay_with_their_images(made):
    dataset = made()
    by_image = {((image - 100) / 50).tobytes(): label for image, label in raw(dataset.train)}
    for images, labels in taken(pipeline.training_batches(dataset, prepared(8), 5, 1, False, False), 4):
        assert [by_image[image.tobytes()] for image in images] == labels.tolist()


@pytest.mark.parametrize("first_step", [1, 3, 4, 9])
@pytest.mark.parametrize("same", [True, False])
def test_stream_continues_where_it_was(made, first_step, same):
    dataset = made(same=same)
    whole = taken(pipeline.training_batches(dataset, prepared(8), 5, 7), first_step + 5)
    rest = taken(pipeline.training_batches(dataset, prepared(8), 5, 7, first_step=first_step), 5)
    for (images, labels), (expected, expected_labels) in zip(rest, whole[first_step:], strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, expected_labels)


def test_order_is_a_function_of_the_seed_alone(made):
    dataset = made()
    streams = []
    for global_seed, seed in ((0, 3), (11, 3), (0, 4)):
        tf.random.set_seed(global_seed)
        streams.append(taken(pipeline.training_batches(dataset, prepared(8), 5, seed), 3))
    np.testing.assert_array_equal(streams[0][2][0], streams[1][2][0])
    assert not np.array_equal(streams[0][0][0], streams[2][0][0])


def windows(image, size):
    """All views of an image of the network's size: padded by an eighth, cropped, mirrored or not."""
    margin = size // 8
    padded = np.pad((image - 100) / 50, ((margin, margin), (margin, margin), (0, 0)))
    for top, left in itertools.product(range(2 * margin + 1), repeat=2):
        view = padded[top : top + size, left : left + size]
        yield from (view.tobytes(), view[:, ::-1].tobytes())


def test_views_are_all_crops_and_mirrors_of_the_padded_image_and_nothing_else(made):
    dataset = made(shapes=((8, 8),) * 4, test=4)
    allowed = {view: label for image, label in raw(dataset.train) for view in windows(image, 8)}
    seen = set()
    for images, labels in taken(pipeline.training_batches(dataset, prepared(8), 4, seed=0), 60):
        for image, label in zip(images, labels, strict=True):
            assert allowed[image.tobytes()] == label
            seen.add(image.tobytes())
    # 240 draws of 4 times 18 views: all but a few are seen.
    assert len(seen) > 60


def test_each_choice_can_be_switched_off(made):
    dataset = made(shapes=((8, 8),) * 4, test=4)
    centre = {((image - 100) / 50).tobytes() for image, _ in raw(dataset.train)}
    mirrored = {((image[:, ::-1] - 100) / 50).tobytes() for image, _ in raw(dataset.train)}
    plain = taken(pipeline.training_batches(dataset, prepared(8), 4, 0, crop=False, flip=False), 10)
    assert {image.tobytes() for images, _ in plain for image in images} == centre
    flipped = taken(pipeline.training_batches(dataset, prepared(8), 4, 0, crop=False), 10)
    assert {image.tobytes() for images, _ in flipped for image in images} == centre | mirrored


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("shape", "channels"), [((30, 20), 3), ((7, 9), 1), ((64, 64), 3)])
def test_other_sizes_are_resized_by_their_shorter_side(made, same, shape, channels):
    dataset = made(shapes=(shape,) * 4, channels=channels, same=same, test=3)
    prepare = prepared(16, channels)
    (images, _), *_ = taken(pipeline.training_batches(dataset, prepare, 2, 0), 1)
    assert images.shape == (2, 16, 16, channels)
    batches = taken(pipeline.test_batches(dataset, prepare, 2), 9)
    assert [batch[0].shape for batch in batches] == [(2, 16, 16, channels)] * 2
    side = 16 + 2  # the shorter side, an eighth longer than the view
    image, _ = raw(dataset.test)[0]
    wanted = [round(n * side / min(shape)) for n in shape]
    resized = tf.image.resize(image, wanted, antialias=True).numpy()
    top, left = ((n - 16) // 2 for n in wanted)
    expected = (resized[top : top + 16, left : left + 16] - 100) / 50
    np.testing.assert_allclose(batches[0][0][0], expected, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("same", [True, False])
def test_every_test_image_counts_once(made, batch_size, same):
    dataset = made(same=same)
    batches = taken(pipeline.test_batches(dataset, prepared(8), batch_size), 99)
    assert {images.shape for images, *_ in batches} == {(batch_size, 8, 8, 3)}
    counted = [label for _, labels, weights in batches for label in labels[weights == 1]]
    assert counted == [label for _, label in raw(dataset.test)]
    if same:
        shown = [image.tobytes() for images, _, weights in batches for image in images[weights == 1]]
        assert shown == [((image - 100) / 50).tobytes() for image, _ in raw(dataset.test)]
    assert sum(weights.sum() for *_, weights in batches) == 5


def test_too_large_batch_is_refused(made):
    with pytest.raises(ValueError, match=r"20\. Received: batch_size=21"):
        pipeline.training_batches(made(), prepared(8), 21, 0)


def test_example_pixels_are_unnormalized_test_images(made):
    dataset = made()
    pixels = pipeline.example_pixels(dataset, 8, count=3)
    np.testing.assert_array_equal(pixels, np.stack([image for image, _ in raw(dataset.test)[:3]]))
