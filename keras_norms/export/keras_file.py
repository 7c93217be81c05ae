"""A `.keras` file as a model to export."""

import pathlib
import zipfile

import keras
from keras import ops

OUTPUTS = ("logits", "probabilities")


def load(path, outputs="logits", allow_code=False):
    """Returns the model of a `.keras` file, with logits as its output.

    Args:
        path: Path.
        outputs: String, what the model returns, of shape `(batch, classes)`: `"logits"` or `"probabilities"`, which
            become logits, their logarithms.
        allow_code: Boolean, whether code in the file may be run: that of a `Lambda` layer. Only for a file whose
            origin you trust.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, holds code, needs layers that are not known, or holds no functional or sequential
            model of images.
    """
    path = pathlib.Path(path)
    if outputs not in OUTPUTS:
        raise ValueError(f"`outputs` must be one of {list(OUTPUTS)}. Received: outputs={outputs!r}.")
    if not path.is_file():
        raise FileNotFoundError(f"`model` must be a .keras file. Received: {path}, which does not exist.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"`model` must be a .keras file. Received: {path}, which is damaged or something else.")
    model = _loaded(path, allow_code)
    if not hasattr(model, "inputs") or len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        raise ValueError(
            f"The model must be functional or sequential, with one input of images. Received: {path}, a "
            f"{type(model).__name__} with the input {getattr(model, 'input_shape', None)}."
        )
    if None in model.inputs[0].shape[1:]:
        raise ValueError(
            "The images must have a size: build the model with one. "
            f"Received: {path}, with the input {model.input_shape}."
        )
    if outputs == "logits":
        _check_logits(path, model)
        return model
    smallest = 1.2e-38  # the smallest positive float32: a probability may have been rounded to zero
    return keras.Model(model.input, ops.log(ops.maximum(ops.cast(model.output, "float32"), smallest)))


def _check_logits(path, model):
    last = model.outputs[0]._keras_history.operation
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax) or activation in (keras.activations.softmax, keras.activations.sigmoid):
        raise ValueError(
            f"The outputs of {path} are those of a softmax or sigmoid, no logits: --outputs=probabilities. "
            f"Received: outputs='logits' for the layer {last.name!r}."
        )


def _loaded(path, allow_code):
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not allow_code)
    except ValueError as error:
        if "unsafe" in str(error).lower() or "lambda" in str(error).lower():
            raise ValueError(
                f"{path} holds code, a Lambda layer, that would be run with your rights. If you trust its origin, say "
                "so: --allow_code."
            ) from error
        raise ValueError(f"{path} cannot be loaded: {_first_line(error)}") from error
    except (TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be loaded: {_first_line(error)}") from error


def _first_line(error):
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
