import itertools
from collections import Counter

import numpy as np
import pytest

from keras_norms.data.in_memory import InMemory


def source(examples):
    images = np.arange(examples, dtype="uint8").reshape(-1, 1, 1, 1)
    return InMemory(images, np.arange(examples) % 3)


def order(examples, batch_size, seed, first_step, batches, drop_remainder=True):
    stream = source(examples).shuffled(batch_size, seed, first_step, drop_remainder)
    return [batch.tolist() for batch in itertools.islice(stream.as_numpy_iterator(), batches)]


def test_every_permutation_is_as_likely_as_any():
    epochs = order(3, 3, 5, 0, 600)
    counts = Counter(map(tuple, epochs))
    assert len(counts) == 6
    # 600 draws of 1 in 6: 100 of each, and 5 standard errors.
    assert all(abs(count - 100) < 5 * np.sqrt(600 * 5 / 36) for count in counts.values())


@pytest.mark.parametrize(("examples", "batch_size"), [(7, 3), (9, 3), (5, 5), (4, 1)])
@pytest.mark.parametrize("drop_remainder", [True, False])
def test_an_epoch_is_a_permutation_cut_into_batches(examples, batch_size, drop_remainder):
    steps = examples // batch_size if drop_remainder else -(-examples // batch_size)
    batches = order(examples, batch_size, 0, 0, 3 * steps, drop_remainder)
    shown = steps * batch_size if drop_remainder else examples
    for epoch in range(3):
        of_epoch = batches[epoch * steps : (epoch + 1) * steps]
        numbers = list(itertools.chain(*of_epoch))
        assert [len(batch) for batch in of_epoch[:-1]] == [batch_size] * (steps - 1)
        assert len(set(numbers)) == len(numbers) == shown


def test_what_is_left_out_of_an_epoch_changes():
    batches = order(7, 3, 0, 0, 60)
    missing = {next(iter(set(range(7)) - set(a + b))) for a, b in zip(batches[::2], batches[1::2], strict=True)}
    assert missing == set(range(7))


def test_a_smaller_batch_than_one_takes_all_when_nothing_is_dropped():
    (batch,) = order(4, 100, 0, 0, 1, drop_remainder=False)
    assert sorted(batch) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"at most the number of training images, 4\. Received: batch_size=5"):
        order(4, 5, 0, 0, 1)


@pytest.mark.parametrize("first_step", range(8))
@pytest.mark.parametrize("drop_remainder", [True, False])
def test_stream_continues_at_any_step(first_step, drop_remainder):
    whole = order(7, 3, 2**40, 0, first_step + 5, drop_remainder)
    assert order(7, 3, 2**40, first_step, 5, drop_remainder) == whole[first_step:]


def test_images_and_labels_are_decoded_in_the_order_stored():
    images, labels = zip(*source(5).decoded().as_numpy_iterator(), strict=True)
    assert [int(image.item()) for image in images] == [0, 1, 2, 3, 4]
    assert list(labels) == [0, 1, 2, 0, 1]
    assert labels[0].dtype == "int64"
