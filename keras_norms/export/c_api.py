"""Runs a SavedModel through TensorFlow's C API, as the binary of a server does: no Python of TensorFlow takes part.

    python -P c_api.py <folder of TensorFlow's libraries> <folder of the SavedModel> <input> <output> <examples.npz>

Input and output are the tensors of the signature `serving_default`, `name:index`; the examples are those of
`verification`. It prints one line, and returns status 1 if that is a problem.
"""

import ctypes
import sys

import numpy as np

_FLOAT = 1


class Output(ctypes.Structure):
    """A tensor of the graph: operation and index, `TF_Output`."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class Library:
    """The C API of the libraries in a folder."""

    def __init__(self, folder):
        ctypes.CDLL(f"{folder}/libtensorflow_framework.so.2", mode=ctypes.RTLD_GLOBAL)
        self._library = ctypes.CDLL(f"{folder}/libtensorflow_cc.so.2", mode=ctypes.RTLD_GLOBAL)
        self._status = self.call("TF_NewStatus")

    def call(self, name, *arguments):
        """Returns the pointer that a function returns."""
        function = getattr(self._library, name)
        function.restype = ctypes.c_void_p
        return ctypes.c_void_p(function(*arguments))

    def checked(self, name, *arguments):
        """Calls a function that takes a status last. Raises a `RuntimeError` if it is not good."""
        found = self.call(name, *arguments, self._status)
        if self._library.TF_GetCode(self._status):
            self._library.TF_Message.restype = ctypes.c_char_p
            raise RuntimeError(self._library.TF_Message(self._status).decode())
        return found


class Session:
    """A SavedModel that has been loaded."""

    def __init__(self, library, folder):
        self._library = library
        self._graph = library.call("TF_NewGraph")
        options, tags = library.call("TF_NewSessionOptions"), (ctypes.c_char_p * 1)(b"serve")
        self._session = library.checked(
            "TF_LoadSessionFromSavedModel", options, None, folder.encode(), tags, 1, self._graph, None
        )

    def run(self, inputs, output, images, shape):
        """Returns the float32 output, of this shape, for images."""
        dimensions = (ctypes.c_int64 * images.ndim)(*images.shape)
        size = ctypes.c_size_t(images.nbytes)
        tensor = self._library.call("TF_AllocateTensor", _FLOAT, dimensions, images.ndim, size)
        ctypes.memmove(self._library.call("TF_TensorData", tensor), images.ctypes.data, images.nbytes)
        sources, values = (Output * 1)(self._tensor(inputs)), (ctypes.c_void_p * 1)(tensor)
        targets, found = (Output * 1)(self._tensor(output)), (ctypes.c_void_p * 1)()
        self._library.checked(
            "TF_SessionRun", self._session, None, sources, values, 1, targets, found, 1, None, 0, None
        )
        data = self._library.call("TF_TensorData", ctypes.c_void_p(found[0]))
        return np.ctypeslib.as_array(ctypes.cast(data, ctypes.POINTER(ctypes.c_float)), shape).copy()

    def _tensor(self, name):
        operation, _, index = name.partition(":")
        found = self._library.call("TF_GraphOperationByName", self._graph, operation.encode())
        if not found:
            raise RuntimeError(f"The graph has no operation {operation!r}.")
        return Output(found, int(index or 0))


def main(libraries, folder, inputs, output, examples):
    """Prints what was found and returns the exit status."""
    with np.load(examples) as file:
        images, probabilities, tolerance = file["images"], file["probabilities"], file["tolerance"]
    try:
        served = Session(Library(libraries), folder).run(inputs, output, images, probabilities.shape)
    except (OSError, RuntimeError) as error:
        print(f"It must load and run in the C API of TensorFlow. {type(error).__name__}: {error}")
        return 1
    difference = abs(served - probabilities).max() / probabilities.max()
    if not difference <= tolerance:  # So that NaN is one.
        print(
            "The C API must give the probabilities of the model. "
            f"They differ by {difference:.1e} of the largest, more than {tolerance:.0e}."
        )
        return 1
    print(
        f"{len(images)} images get the probabilities of the model through the C API, "
        f"up to {tolerance:.0e} of the largest."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
