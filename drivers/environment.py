"""Settings of TensorFlow that must be made before it is imported: import this first."""

import contextlib
import logging
import os
import platform

# TensorFlow uses oneDNN by itself only on CPUs with AVX512-VNNI and newer. On the others a training step takes half
# the time with it, too.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.WARNING)


def onednn():
    """Returns a line that says whether oneDNN is on."""
    value = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's default")
    return f"oneDNN: TF_ENABLE_ONEDNN_OPTS={value}" + (" (set it to 0 to turn it off)" if value == "1" else "")


@contextlib.contextmanager
def _silent_stderr():
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# TensorFlow 2.21 prints its first messages before it reads its log level.
with _silent_stderr():
    import tensorflow  # noqa: F401
