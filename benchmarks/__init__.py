"""What keras_norms costs beside its peers: cases that entrants run in turns, on one machine, in one run."""
