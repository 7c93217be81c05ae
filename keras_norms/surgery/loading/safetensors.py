"""Reads a `.safetensors` file: the length of a JSON header, the header, and the bytes of the tensors.

The format: https://github.com/huggingface/safetensors
"""

import json
import math
import pathlib

import numpy as np

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def read(path):
    """Returns a dict from names to arrays."""
    data = pathlib.Path(path).read_bytes()
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        body = data[8 + length :]
        return {name: _array(entry, body) for name, entry in header.items() if name != "__metadata__"}
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a `.safetensors` file, or not all of it ({type(error).__name__}: {error})."
        ) from error


def _array(entry, body):
    start, end = entry["data_offsets"]
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    if end - start != math.prod(entry["shape"]) * dtype.itemsize:
        raise ValueError(f"bytes {start} to {end} are not {entry['shape']} numbers of {entry['dtype']}")
    array = np.frombuffer(body[start:end], dtype).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        array = (array.astype("uint32") << 16).view("float32")
    return array
