"""A training step of a Keras model on the JAX backend, our layers or stock ones, compiled as a whole."""

import jax
import keras

from benchmarks.contest.entrant import Workload
from benchmarks.peers import networks_keras, step_batch


def make(arch, normalization, batch, size, classes, stock=False, dtype="float32"):
    """
    Args:
        stock: Boolean, whether the layers are those of Keras alone.
        dtype: String, a Keras dtype policy.
    """
    keras.config.set_dtype_policy(dtype)
    build = networks_keras.stock if stock else networks_keras.ours
    model = build(arch, normalization, size, classes)
    optimizer = keras.optimizers.SGD(
        step_batch.LEARNING_RATE, momentum=step_batch.MOMENTUM, weight_decay=step_batch.WEIGHT_DECAY
    )
    optimizer.build(model.trainable_variables)
    images, labels = map(jax.device_put, step_batch.fixed(batch, size, classes))
    step = jax.jit(_step(model, optimizer), donate_argnums=0)
    groups = model.trainable_variables, model.non_trainable_variables, optimizer.variables
    state = [[variable.value for variable in group] for group in groups]

    def repeat():
        nonlocal state
        state, loss = jax.block_until_ready(step(state, images, labels))
        step_batch.check(float(loss))

    return Workload(repeat, device_memory=_peak if jax.default_backend() == "gpu" else None)


def _peak():
    return jax.devices()[0].memory_stats()["peak_bytes_in_use"]


def _step(model, optimizer):
    def loss_of(trainable, other, images, labels):
        outputs, other = model.stateless_call(trainable, other, images, training=True)
        return _loss(outputs, labels), other

    def step(state, images, labels):
        trainable, other, moving = state
        (loss, other), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, other, images, labels)
        trainable, moving = optimizer.stateless_apply(moving, gradients, trainable)
        return [trainable, other, moving], loss

    return step


def _loss(outputs, labels):
    heads = outputs if isinstance(outputs, dict) else {"main": outputs}
    weights = step_batch.LOSS_WEIGHTS
    return sum(
        weights[name]
        * keras.losses.sparse_categorical_crossentropy(
            labels, keras.ops.cast(logits, "float32"), from_logits=True
        ).mean()
        for name, logits in heads.items()
    )
