"""How a driver ends: an error is one line, and the exit status tells what happened."""

import contextlib
import os
import sys

from absl import flags, logging

from keras_norms import training

_ERRORS = (ValueError, TypeError, OSError, RuntimeError, FloatingPointError)


@contextlib.contextmanager
def reported(name, argv):
    """Runs a driver in this context: status 0 at the end and after SIGTERM, 130 after Ctrl-C, 1 after an error.

    Args:
        name: String, the file's name, before each message.
        argv: List of strings, what absl has left of the command line: no more than the command itself.
    """
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    if argv[1:]:
        sys.exit(f"{name}: every option must be a --flag or a --noflag. Received: {' '.join(argv[1:])}.")
    try:
        with training.termination_at_once():
            yield
    except training.Preempted as told:
        print(f"{name}: {told}", flush=True)
    except KeyboardInterrupt as interrupt:
        print(f"{name}: {str(interrupt) or 'Interrupted. What has been saved is kept; the same command goes on.'}")
        sys.exit(130)
    except training.LostError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # Python's own end waits up to half a minute for a worker that is there no more (TensorFlow 2.21)
    except _ERRORS as error:
        if flags.FLAGS.verbosity > 0:
            raise
        sys.exit(f"{name}: {error}")
