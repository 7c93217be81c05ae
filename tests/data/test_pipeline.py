import itertools
import re

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.data import datasets, pipeline
from keras_norms.data.records import Records
from keras_norms.data.shares import Shares


def prepared(size, channels=3):
    return pipeline.Preprocessing(size, (100.0,) * channels, (50.0,) * channels)


def taken(batches, count):
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def assert_equal(batch, expected):
    for tensor, wanted in zip(batch, expected, strict=True):
        np.testing.assert_array_equal(tensor, wanted)


def raw(split):
    return [(image.astype("float32"), int(label)) for image, label in split.decoded().as_numpy_iterator()]


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


@pytest.mark.parametrize(
    ("size", "margin", "expected"), [(32, None, 4), (20, None, 2), (7, None, 0), (32, 0, 0), (8, 5, 5)]
)
def test_margin_is_an_eighth_unless_given(made, size, margin, expected):
    assert pipeline.Preprocessing(size, (0.0,), (1.0,), margin).margin == expected
    assert pipeline.preprocessing(made(), size, margin).margin == expected


def test_given_statistics_take_the_place_of_those_of_the_pixels(made, monkeypatch):
    dataset = made()
    own = pipeline.preprocessing(dataset, 8)
    published = {"mean": [104.0, 117, 124], "deviation": (1.0, 2.0, 4.0)}
    for name in published:
        found = pipeline.preprocessing(dataset, 8, **{name: published[name]})
        expected = {"mean": own.mean, "deviation": own.deviation, name: tuple(published[name])}
        assert {"mean": found.mean, "deviation": found.deviation} == expected
    # Of ImageNet it takes minutes to look at all pixels.
    monkeypatch.setattr(datasets, "pixel_statistics", lambda *_: pytest.fail("all pixels were looked at"))
    prepare = pipeline.preprocessing(dataset, 8, **published)
    assert (prepare.mean, prepare.deviation) == ((104.0, 117, 124), (1.0, 2.0, 4.0))
    image = raw(dataset.train)[0][0]
    np.testing.assert_allclose(prepare(image), (image - np.array([104.0, 117, 124])) / [1, 2, 4], rtol=1e-6)


@pytest.mark.parametrize(("channels", "given"), [(3, (0.0,)), (3, (104.0, 117.0)), (1, (104.0, 117.0, 124.0))])
@pytest.mark.parametrize("name", ["mean", "deviation"])
def test_statistics_of_other_channels_are_refused(made, name, channels, given):
    words = rf"`pixel_{name}` must be one number for each of the {channels} channel\(s\) of made.*pixel_{name}="
    with pytest.raises(ValueError, match=words + re.escape(f"{given}.")):
        pipeline.preprocessing(made(channels=channels), 8, **{name: given})


def test_views_have_the_margin_that_is_given(made):
    dataset = made(shapes=((8, 8),) * 4, test=4)
    stored = {((image - 100) / 50).tobytes() for image, _ in raw(dataset.train)}
    without, wide = (pipeline.Preprocessing(8, (100.0,) * 3, (50.0,) * 3, margin) for margin in (0, 3))
    shown = taken(pipeline.training_batches(dataset, without, 4, 0, flip=False), 10)
    assert {image.tobytes() for images, *_ in shown for image in images} == stored
    shown = taken(pipeline.training_batches(dataset, wide, 4, 0, flip=False), 30)
    # Rows of the border above: as many as the window lies above the image.
    above = {int(np.argmax(np.any(image != 0, axis=(1, 2)))) for images, *_ in shown for image in images}
    assert above == {0, 1, 2, 3}


def test_epoch_shows_every_image_once_and_every_epoch_in_another_order(made):
    dataset = made()
    stream = pipeline.training_batches(dataset, prepared(8), 5, seed=1, crop=False, flip=False)
    batches = taken(stream, 8)
    originals = {((image - 100) / 50).tobytes() for image, _ in raw(dataset.train)}
    epochs = [[image.tobytes() for images, *_ in batches[e : e + 4] for image in images] for e in (0, 4)]
    assert set(epochs[0]) == set(epochs[1]) == originals
    assert epochs[0] != epochs[1]


def test_labels_stay_with_their_images(made):
    dataset = made()
    by_image = {((image - 100) / 50).tobytes(): label for image, label in raw(dataset.train)}
    for images, labels, _ in taken(pipeline.training_batches(dataset, prepared(8), 5, 1, False, False), 4):
        assert [by_image[image.tobytes()] for image in images] == labels.tolist()


@pytest.mark.parametrize("first_step", [1, 3, 4, 9])
@pytest.mark.parametrize("same", [True, False])
def test_stream_continues_where_it_was(made, first_step, same):
    dataset = made(same=same)
    whole = taken(pipeline.training_batches(dataset, prepared(8), 5, 7), first_step + 5)
    rest = taken(pipeline.training_batches(dataset, prepared(8), 5, 7, first_step=first_step), 5)
    for batch, expected in zip(rest, whole[first_step:], strict=True):
        assert_equal(batch, expected)


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
    for images, labels, _ in taken(pipeline.training_batches(dataset, prepared(8), 4, seed=0), 60):
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
    assert {image.tobytes() for images, *_ in plain for image in images} == centre
    flipped = taken(pipeline.training_batches(dataset, prepared(8), 4, 0, crop=False), 10)
    assert {image.tobytes() for images, *_ in flipped for image in images} == centre | mirrored


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("shape", "channels"), [((30, 20), 3), ((7, 9), 1), ((64, 64), 3)])
def test_other_sizes_are_resized_by_their_shorter_side(made, same, shape, channels):
    dataset = made(shapes=(shape,) * 4, channels=channels, same=same, test=3)
    prepare = prepared(16, channels)
    (images, *_), *_ = taken(pipeline.training_batches(dataset, prepare, 2, 0), 1)
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


SHARES = [(20, 3), (7, 2), (6, 4), (2, 5), (1, 1), (5, 5)]


@pytest.mark.parametrize(("batch_size", "replicas"), SHARES)
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("drop_remainder", [True, False])
def test_replicas_are_shown_what_one_would_be(made, batch_size, replicas, same, drop_remainder):
    dataset, rows = made(same=same), -(-batch_size // replicas)

    def stream(shares, first_step=0):
        return pipeline.training_batches(
            dataset, prepared(8), batch_size, 3, first_step=first_step, drop_remainder=drop_remainder, shares=shares
        )

    parts = stream(Shares(replicas))
    assert [spec.shape.as_list() for spec in parts.element_spec] == [[rows, 8, 8, 3], [rows], [rows]]
    steps = pipeline.steps_per_epoch(dataset, batch_size, drop_remainder) + 2
    parts = taken(parts, steps * replicas)
    for step, (images, labels, weights) in enumerate(taken(stream(Shares()), steps)):
        counts = weights > 0
        assert len(weights) == batch_size
        of_step = parts[step * replicas : (step + 1) * replicas]
        np.testing.assert_array_equal(np.concatenate([x[w > 0] for x, _, w in of_step]), images[counts])
        np.testing.assert_array_equal(np.concatenate([y[w > 0] for _, y, w in of_step]), labels[counts])
        assert {float(w) for *_, weights in of_step for w in weights} - {0.0} == {float(np.float32(1 / counts.sum()))}
        assert all(np.all(x[w == 0] == 0) and np.all(y[w == 0] == 0) for x, y, w in of_step)
    for first, count in {(0, 1), (replicas - 1, 1), (replicas // 2, None)}:
        of_worker = stream(Shares(replicas, first, count), first_step=1)
        count = count or replicas - first
        wanted = [parts[step * replicas + first + part] for step in range(1, steps) for part in range(count)]
        for part, expected in zip(taken(of_worker, (steps - 1) * count), wanted, strict=True):
            assert_equal(part, expected)


@pytest.mark.parametrize("same", [True, False])
def test_nothing_is_left_out_without_a_dropped_remainder(made, same):
    dataset = made(same=same)
    stream = pipeline.training_batches(
        dataset, prepared(8), 7, 1, crop=False, flip=False, drop_remainder=False, shares=Shares(4)
    )
    parts = taken(stream, 2 * 3 * 4)
    sums = [sum(weights.sum(dtype="float64") for *_, weights in parts[i : i + 4]) for i in range(0, 24, 4)]
    # Up to 7 weights, each rounded to 24 bits.
    np.testing.assert_allclose(sums, 1, rtol=2**-24)
    counted = [[label for _, y, w in parts[e : e + 12] for label in y[w > 0]] for e in (0, 12)]
    assert sorted(counted[0]) == sorted(counted[1]) == sorted(label for _, label in raw(dataset.train))
    assert [int((w > 0).sum()) for *_, w in parts[8:12]] == [1, 2, 1, 2]


def test_a_worker_decodes_its_own_parts_alone(made, monkeypatch):
    dataset = made(same=False)
    decode, decoded = Records.decode, []

    def counted(records, record):
        tf.py_function(lambda: decoded.append(1), [], [])
        return decode(records, record)

    monkeypatch.setattr(Records, "decode", counted)
    parts = taken(pipeline.test_batches(dataset, prepared(8), 11, Shares(4, 1, 2), split="train"), 9)
    assert len(parts) == 4
    # Of batches of 11 and 9: examples 2 to 7, and 2 to 5.
    assert len(decoded) == 6 + 4


def test_replicas_of_a_strategy_get_their_parts_in_order(made, strategy):
    dataset = made()

    def stream(context):
        assert context.num_replicas_in_sync == 2
        return pipeline.training_batches(dataset, prepared(8), 7, 0, shares=Shares(2))

    parts = taken(stream(tf.distribute.InputContext(1, 0, 2)), 6)
    distributed = iter(strategy.distribute_datasets_from_function(stream))
    for step in range(3):
        batch = [strategy.experimental_local_results(tensor) for tensor in next(distributed)]
        for replica in range(2):
            assert_equal([tensor[replica] for tensor in batch], parts[2 * step + replica])


@pytest.mark.parametrize(("batch_size", "replicas"), [(1, 1), (2, 1), (3, 2), (5, 4), (8, 3), (2, 3)])
@pytest.mark.parametrize("same", [True, False])
def test_every_test_image_counts_once(made, batch_size, replicas, same):
    dataset, rows = made(same=same), -(-batch_size // replicas)
    parts = taken(pipeline.test_batches(dataset, prepared(8), batch_size, Shares(replicas)), 99)
    assert len(parts) == replicas * -(-5 // batch_size)
    assert {images.shape for images, *_ in parts} == {(rows, 8, 8, 3)}
    assert {float(weight) for *_, weights in parts for weight in weights} <= {0.0, 1.0}
    counted = [label for _, labels, weights in parts for label in labels[weights == 1]]
    assert counted == [label for _, label in raw(dataset.test)]
    shown = [image.tobytes() for images, _, weights in parts for image in images[weights == 1]]
    if same:
        assert shown == [((image - 100) / 50).tobytes() for image, _ in raw(dataset.test)]
    assert len(set(shown)) == 5
    # Two workers, together.
    if replicas > 1:
        workers = [Shares(replicas, 0, 1), Shares(replicas, 1)]
        own = [taken(pipeline.test_batches(dataset, prepared(8), batch_size, worker), 99) for worker in workers]
        merged = [own[part > 0].pop(0) for _ in range(-(-5 // batch_size)) for part in range(replicas)]
        for part, expected in zip(merged, parts, strict=True):
            assert_equal(part, expected)


@pytest.mark.parametrize("same", [True, False])
def test_training_images_can_be_tested_on(made, same):
    dataset = made(same=same)
    batches = taken(pipeline.test_batches(dataset, prepared(8), 6, split="train"), 99)
    counted = [label for _, labels, weights in batches for label in labels[weights == 1]]
    assert counted == [label for _, label in raw(dataset.train)]
    with pytest.raises(ValueError, match=r"one of \['test', 'train'\]. Received: split='valid'"):
        pipeline.test_batches(dataset, prepared(8), 6, split="valid")


@pytest.mark.parametrize("same", [True, False])
def test_ten_crops_come_with_their_label(made, same):
    dataset = made(same=same)
    plain = taken(pipeline.test_batches(dataset, prepared(8), 3, Shares(2)), 99)
    parts = taken(pipeline.ten_crop_batches(dataset, prepared(8), 3, Shares(2)), 99)
    assert {images.shape for images, *_ in parts} == {(2, 10, 8, 8, 3)}
    for (crops, *rest), (centre, *expected) in zip(parts, plain, strict=True):
        assert_equal(rest, expected)
        np.testing.assert_array_equal(crops[:, 4], centre)
        np.testing.assert_array_equal(crops[:, 5:], crops[:, :5, :, ::-1])


def test_too_large_batch_is_refused(made):
    with pytest.raises(ValueError, match=r"20\. Received: batch_size=21"):
        pipeline.training_batches(made(), prepared(8), 21, 0)


def test_example_pixels_are_unnormalized_test_images(made):
    dataset = made()
    pixels = pipeline.example_pixels(dataset, prepared(8), count=3)
    np.testing.assert_array_equal(pixels, np.stack([image for image, _ in raw(dataset.test)[:3]]))
