import dataclasses
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from keras_norms.data.records import READING_ERRORS
from tests.data import record_files

SHAPE = (8, 6, 3)


def image(channels=3, shape=SHAPE[:2], seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, channels), "uint8")


def png(*arguments, label=1, cut=None, **options):
    return record_files.record(record_files.png(image(*arguments, **options))[:cut], label)


def jpeg(*arguments, label=1, cut=None, **options):
    return record_files.record(record_files.jpeg(image(*arguments, **options))[:cut], label)


BAD = {
    "label above": (png(label=4), "its label is 4, but the classes are 0 to 3"),
    "no label": (jpeg(label=-1), "its label is -1, but"),
    "png cut off": (png(cut=-9), "its image cannot be decoded: Invalid PNG data"),
    "jpeg cut off": (jpeg(cut=-9), "its image cannot be decoded: .*Invalid JPEG data"),
    "jpeg without its last byte": (jpeg(cut=-1), "its image cannot be decoded"),
    "empty": (png(cut=0), "its image cannot be decoded: Input is empty$"),
    "text": (record_files.record(b"no image at all", 1), "its image cannot be decoded: Unknown image file format"),
    "grey png": (png(1), r"its image has the shape \[8, 6, 1\], but the set has \[8, 6, 3\]"),
    "png with opacity": (png(4), r"shape \[8, 6, 4\]"),
    "other size": (png(3, (8, 7)), r"shape \[8, 7, 3\]"),
    "jpeg of other size": (jpeg(3, (6, 8)), r"shape \[6, 8, 3\]"),
    "no example": (b"\xff\xfe nonsense", "it is no example with the features `image` and `label`"),
    "other features": (tf.train.Example().SerializeToString(), "it is no example"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_record_is_found_and_what_is_wrong_is_said(tmp_path, kind):
    bad, fault = BAD[kind]
    records = record_files.stored(tmp_path, [png(seed=1), jpeg(), png(), bad, png(seed=2)], (2, 0, 3), SHAPE, 4)
    with pytest.raises(READING_ERRORS):
        records.decoded()
    with pytest.raises(READING_ERRORS):
        list(records.in_order().map(records.decode))
    faults = records.faults()
    assert list(faults) == [3]
    assert tf.strings.regex_full_match(faults[3], f".*{fault.rstrip('$')}" + ("" if fault.endswith("$") else ".*"))


def test_all_bad_ones_are_found_at_once_and_the_rest_is_read(tmp_path):
    good = [png(seed=seed, label=seed % 4) for seed in range(10)]
    bad = [record for record, _ in BAD.values()]
    mixed = [record for pair in zip(good, bad[:10], strict=True) for record in pair]
    records = record_files.stored(tmp_path, mixed, (7, 0, 1, 12), SHAPE, 4)
    faults = records.faults()
    assert list(faults) == list(range(1, 20, 2))
    kept = records.without(faults)
    assert (kept.examples, kept.kept_lengths.tolist()) == (10, [4, 0, 0, 6])
    images, labels = kept.decoded()
    np.testing.assert_array_equal(images, [image(seed=seed) for seed in range(10)])
    np.testing.assert_array_equal(labels, [seed % 4 for seed in range(10)])
    assert [record.numpy() for record in kept.in_order()] == good
    assert list(kept.faults()) == list(faults)


def test_sound_records_have_no_faults(tmp_path):
    records = record_files.stored(tmp_path, [png(), jpeg(), png(label=0), jpeg(label=3)], (4,), SHAPE, 4)
    assert records.faults() == {}


def test_images_of_many_sizes_are_sound_where_the_set_has_no_size(tmp_path):
    records = record_files.stored(tmp_path, [png(), png(3, (2, 9)), png(1), jpeg(1)], (4,), (None, None, 3), 4)
    assert list(records.faults()) == [2]


def test_grey_jpeg_is_repeated_over_the_channels(tmp_path):
    records = record_files.stored(tmp_path, [jpeg(1)], (1,), SHAPE, 4)
    (decoded,), _ = records.decoded()
    stored = tf.io.decode_jpeg(record_files.jpeg(image(1)), channels=1).numpy()
    np.testing.assert_array_equal(decoded, np.repeat(stored, 3, axis=-1))


def test_grey_set_refuses_colours(tmp_path):
    records = record_files.stored(tmp_path, [png(1), jpeg(1), png(3), jpeg(3)], (4,), (8, 6, 1), 4)
    assert list(records.faults()) == [2, 3]
    images, _ = records.without([2, 3]).decoded()
    np.testing.assert_array_equal(images[0], image(1))


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "first"),
    [
        (lambda content: content[:-20], 4),  # the end of the last record
        (lambda content: flipped(content, 40), 2),  # the first record
        (lambda content: flipped(content, 3), 2),  # its length
        (lambda content: b"", 2),
        (None, 2),  # the file is gone
    ],
)
def test_damaged_file_is_named_by_the_records_that_are_lost(tmp_path, damage, first):
    written = [png(seed=seed, label=seed % 4) for seed in range(8)]
    records = record_files.stored(tmp_path, written, (2, 3, 3), SHAPE, 4)
    path = records.files[1]
    if damage:
        pathlib.Path(path).write_bytes(damage(pathlib.Path(path).read_bytes()))
    else:
        os.remove(path)
    with pytest.raises(READING_ERRORS):
        records.decoded()
    faults = records.faults()
    assert list(faults) == list(range(first, 5))
    assert all("file is missing, ends before it, or is damaged" in fault for fault in faults.values())
    kept = records.without(faults)
    assert kept.decoded()[1].tolist() == [seed % 4 for seed in range(8) if seed not in faults]


@pytest.mark.parametrize("lengths", [(4, 2), (2, 4)])
def test_file_of_another_length_than_the_set_says_is_no_silent_shift(tmp_path, lengths):
    written = [png(label=number % 4) for number in range(6)]
    records = record_files.stored(tmp_path, written, lengths, SHAPE, 4)
    promised = dataclasses.replace(records, lengths=(3, 3))
    with pytest.raises(READING_ERRORS):
        promised.decoded()
    assert list(promised.faults()) == ([5] if lengths[1] == 2 else [2])
