"""Settings of TensorFlow that must be made before it is imported: import this first."""

import os
import platform

# TensorFlow uses oneDNN by itself only on CPUs with AVX512-VNNI and newer; on the others, too, a training step takes
# half the time with it.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def onednn():
    """Returns a line that says whether oneDNN is on."""
    value = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's default")
    return f"oneDNN: TF_ENABLE_ONEDNN_OPTS={value}" + (" (set it to 0 to turn it off)" if value == "1" else "")
