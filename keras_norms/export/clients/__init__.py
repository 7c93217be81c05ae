"""Asking a running TensorFlow Serving about image files, over REST or gRPC.

This needs neither TensorFlow nor Keras, though importing it as a part of keras_norms imports both; drivers/bare.py does
without.
"""

from keras_norms.export.clients.answers import Answer, lines
from keras_norms.export.clients.asking import PORTS, ask, connect
from keras_norms.export.clients.images import read
from keras_norms.export.clients.refusals import RefusedError, ServingError
from keras_norms.export.clients.targets import SIGNATURES, Patience, Server, Target

__all__ = [
    "PORTS",
    "SIGNATURES",
    "Answer",
    "Patience",
    "RefusedError",
    "Server",
    "ServingError",
    "Target",
    "ask",
    "connect",
    "lines",
    "read",
]
