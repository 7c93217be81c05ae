"""Modules of a package without what its `__init__` imports: import this first.

`import keras_norms` imports Keras and TensorFlow, and so do the protocol messages of TensorFlow Serving: some seconds,
and 600 MB. Asking a server needs neither.
"""

import importlib.util
import os
import sys
import types

os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def _bare(name):
    package = types.ModuleType(name)
    package.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
    sys.modules[name] = package


for _name in ("tensorflow", "keras_norms", "keras_norms.export"):
    _bare(_name)
