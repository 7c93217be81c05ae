import itertools

import numpy as np
import pytest

from keras_norms.data.shares import Shares


def examples_of(shares, examples, batch_size):
    positions, counts = (tensor.numpy() for tensor in shares.positions(examples, batch_size))
    return [positions[part, counts[part]].tolist() for part in range(shares.parts)]


@pytest.mark.parametrize("replicas", [1, 2, 3, 7])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 20])
def test_a_batch_is_shared_out_as_evenly_as_can_be(batch_size, replicas):
    for examples in range(1, batch_size + 1):
        parts = examples_of(Shares(replicas), examples, batch_size)
        assert list(itertools.chain(*parts)) == list(range(examples))
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert [part[0] for part in parts if part] == [r * examples // replicas for r in range(replicas) if sizes[r]]


def test_rows_are_those_of_the_largest_part():
    assert [Shares(3).rows(batch_size) for batch_size in (1, 2, 3, 4, 9, 10)] == [1, 1, 1, 2, 3, 4]
    positions, counts = Shares(3).positions(7, 7)
    assert positions.shape == counts.shape == (3, 3)
    # What does not count is a position all the same.
    assert positions.numpy().max() < 7


def test_workers_have_their_own_parts():
    whole = examples_of(Shares(5), 13, 14)
    assert examples_of(Shares(5, first=1, count=3), 13, 14) == whole[1:4]
    assert examples_of(Shares(5, first=3), 13, 14) == whole[3:]


@pytest.mark.parametrize("drop_remainder", [True, False])
@pytest.mark.parametrize("replicas", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 6, 8])
def test_parts_are_filled_up_exactly_when_it_says_so(batch_size, replicas, drop_remainder):
    shares = Shares(replicas)
    possible = [batch_size] if drop_remainder else range(1, batch_size + 1)
    filled = any(not np.all(shares.positions(examples, batch_size)[1]) for examples in possible)
    # A batch of one example is never a smaller one.
    assert filled == (shares.fills(batch_size, drop_remainder) and not (batch_size == replicas == 1))


@pytest.mark.parametrize("wrong", [(0,), (2, 2), (2, -1), (2, 0, 0), (2, 1, 2), (2, 0, 3)])
def test_parts_that_do_not_exist_are_refused(wrong):
    with pytest.raises(ValueError, match=r"`replicas` parts of a batch. Received: Shares\(replicas="):
        Shares(*wrong)
