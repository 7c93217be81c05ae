"""Watching layers at work: what each takes and gives while a model runs, in the order it happens."""

import contextlib
import functools


@contextlib.contextmanager
def observed(layers, observe):
    """Calls `observe(layer, args, kwargs, outputs)` whenever one of the layers has computed its outputs.

    It sees layers wherever they stand: in functional and subclassed models, in nested ones, and a shared layer at each
    of its uses. What `observe` returns takes the place of the outputs, unless it is None: what runs next takes it.
    What `observe` calls itself is not observed, so that it can measure, correct weights, and compute the outputs anew.

    The layers' `call` is wrapped for as long as the context lasts, and their own again however it ends. Build them
    before: building may trace a layer. In a traced program (`jax.jit`, `tf.function`) `observe` gets traced tensors,
    and only while the program is traced.

    Args:
        layers: Iterable of Keras layers; one that comes twice is observed once.
        observe: Function of the layer, the positional and the keyword arguments of its `call`, and its outputs.

    Example:
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU(name="a"), keras.layers.Rescaling(3, name="b")])
    >>> def show(layer, args, kwargs, outputs):
    ...     print(layer.name, keras.ops.convert_to_numpy(outputs).tolist())
    >>> with keras_norms.layers.watching.observed(model.layers, show):
    ...     outputs = model(np.array([[-1.0, 2.0]]))
    a [[0.0, 2.0]]
    b [[0.0, 6.0]]
    """
    observing = False

    def observed_call(layer, own_call):
        @functools.wraps(own_call)
        def call(*args, **kwargs):
            nonlocal observing
            outputs = own_call(*args, **kwargs)
            if observing:
                return outputs
            observing = True
            try:
                replacement = observe(layer, args, kwargs, outputs)
            finally:
                observing = False
            return outputs if replacement is None else replacement

        return call

    with contextlib.ExitStack() as stack:
        for layer in {id(layer): layer for layer in layers}.values():
            stack.enter_context(_with_call(layer, observed_call(layer, layer.call)))
        yield


@contextlib.contextmanager
def _with_call(layer, call):
    outer = vars(layer).get("call")  # that of another observation
    # Not setattr: Keras tracks what is set on a layer, and PyTorch's modules do.
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        if outer is None:
            object.__delattr__(layer, "call")
        else:
            object.__setattr__(layer, "call", outer)
