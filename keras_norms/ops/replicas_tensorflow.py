"""Collectives of `tf.distribute`, with the signatures of `replicas`.

They need the replica context itself. Inside a `tf.function` nested in
`strategy.run`, compiled with XLA or not, TensorFlow raises "merge_call called
while defining a new graph".
"""

import tensorflow as tf


def all_gather(vector):
    """See `replicas.all_gather`."""
    context = _context_of_many()
    if not context:
        return vector[None]
    # Its shape is unknown where the replicas belong to several workers.
    return tf.ensure_shape(context.all_gather(vector[None], axis=0), (context.num_replicas_in_sync, *vector.shape))


def mean(variables):
    """See `replicas.mean`. One collective, and none where the values are not those of distributed variables."""
    values = [variable.value for variable in variables]
    context = _context_of_many()
    if not context or not any(isinstance(value, tf.distribute.DistributedValues) for value in values):
        return [tf.convert_to_tensor(value) for value in values]
    local = [tf.convert_to_tensor(value) for value in values]
    packed = context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.concat([tf.reshape(v, [-1]) for v in local], 0))
    parts = tf.split(packed, [v.shape.num_elements() for v in local])
    return [tf.reshape(part, v.shape) for part, v in zip(parts, local, strict=True)]


def _context_of_many():
    """Returns the replica context if there are several replicas, else None."""
    context = tf.distribute.get_replica_context()
    return context if context and context.num_replicas_in_sync > 1 else None
