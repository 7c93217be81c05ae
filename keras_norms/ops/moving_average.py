"""Exponential moving average from zero, with the weight it has gathered.

    total_t  = m total_{t-1}  + (1 - m) value_t        total_0 = 0
    weight_t = m weight_{t-1} + (1 - m)                weight_0 = 0, so weight_t = 1 - m**t
    average  = total / weight

The division removes the bias towards zero of the start, as in Adam (Kingma and
Ba, 2015, https://arxiv.org/abs/1412.6980) and in Caffe's BatchNorm, whose third
blob is this weight times `1 / (1 - m)`. `m`, the momentum, is the weight kept.

Total and weight are linear in the values: their means over replicas give the
average of all replicas, weighted by what each has seen, also where one has seen
nothing. The mean of the averages would not.
"""

from keras import ops


def updated(total, value, momentum, count):
    """Returns the next `total`, or the same to the last bit if `count` is 0.

    Args:
        total: Tensor, `total` or `weight` above.
        value: Tensor of the same shape, finite; 1 for the weight.
        momentum: Float in [0, 1), the weight kept.
        count: Scalar tensor, the number of elements behind `value`.
    """
    momentum, one = (ops.convert_to_tensor(number, total.dtype) for number in (momentum, 1.0))
    keep = ops.where(count > 0, momentum, one)
    return keep * total + (1.0 - keep) * ops.cast(value, total.dtype)


def average(total, weight, initial):
    """Returns `total / weight`, or `initial` where the weight is 0.

    Args:
        total: Tensor of any shape.
        weight: Scalar tensor.
        initial: Float, what an average of no values reads.
    """
    empty = ops.equal(weight, 0.0)
    return ops.where(empty, initial, total / ops.where(empty, 1.0, weight))
