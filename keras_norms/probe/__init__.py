"""What happens inside a network while it is trained: norms, statistics, dead units, gradients, drift."""

from keras_norms.probe.callback import Probe
from keras_norms.probe.measurement import Channels, Measurement, Reading, measure
from keras_norms.probe.picture import plot
from keras_norms.probe.record import read

__all__ = ["Channels", "Measurement", "Probe", "Reading", "measure", "plot", "read"]
