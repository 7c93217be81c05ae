"""How fast a run goes, and how much of it is spent waiting for data."""

import contextlib
import time

from keras_norms.training import history, memory

# The first step of a process traces the graph, compiles it and waits until the pipeline is filled; the second one may
# trace once more and chooses kernels. They would hide for a whole epoch what the others take.
_WARMING_UP = 2


class Speed:
    """Measures the steps of a run.

    The first two steps of a process are left out of rates: they trace, compile and fill the pipeline.

    Args:
        batch_size: Integer, the number of images in a step.
        clock: Function that returns seconds.

    Example:
    >>> from keras_norms.training import speed
    >>> measured = speed.Speed(batch_size=128)
    >>> measured.begin_epoch()
    >>> with measured.waiting():
    ...     batch = next(iter([1, 2]))
    >>> with measured.step():
    ...     logs = {"loss": float(batch)}
    """

    def __init__(self, batch_size, clock=time.perf_counter):
        self._batch_size, self._clock = batch_size, clock
        self._made = 0
        self._warm = None
        self.begin_epoch()

    def begin_epoch(self):
        """Begins to count anew what is told of the epoch so far."""
        self._began = self._clock()
        self._counted, self._waited, self._computed = 0, 0.0, 0.0

    @contextlib.contextmanager
    def waiting(self):
        """Measures its body as waiting for the data of the next step."""
        started = self._clock()
        yield
        if self._made >= _WARMING_UP:
            self._waited += self._clock() - started

    @contextlib.contextmanager
    def step(self):
        """Measures its body as a step, which must end when the results are there."""
        started = self._clock()
        yield
        ended = self._clock()
        self._made += 1
        if self._made > _WARMING_UP:
            self._counted += 1
            self._computed += ended - started
        elif self._made == _WARMING_UP:
            self._warm = ended

    @property
    def images_per_second(self):
        """Float, of the steps of this epoch with the waiting for their data; 0 before there are any that count."""
        return self._counted * self._batch_size / (self._waited + self._computed) if self._counted else 0.0

    @property
    def waiting_share(self):
        """Float, the share of these steps that is spent waiting for data; 0 before there are any that count."""
        return self._waited / (self._waited + self._computed) if self._counted else 0.0

    @property
    def seconds(self):
        """Float, since the epoch began, with all that lies between the steps."""
        return self._clock() - self._began

    def seconds_left(self, steps):
        """Returns how long the steps to come will take, with tests and checkpoints between them, or None.

        Args:
            steps: Integer, the number of steps to come.
        """
        counted = self._made - _WARMING_UP
        return (self._clock() - self._warm) / counted * steps if counted > 0 else None

    def row(self, epoch):
        """Returns what is kept of the epoch that ends: a row of `speed.csv`, with bytes of memory."""
        return {
            "epoch": epoch,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "waiting_share": self.waiting_share,
            "memory": memory.resident(),
            "device_memory": memory.on_devices(),
        }


def append(row, path):
    """Adds a row to a file, which is complete or as it was before.

    An epoch that a killed run had to repeat has a row for each time.
    """
    history.write([*(read(path) if path.exists() else ()), row], path)


def read(path):
    """Returns the rows of a file, each a dict of floats."""
    return history.read(path)


def total_seconds(path):
    """Returns what all epochs have taken, repeated ones included; of one that was cut off, nothing is known."""
    return sum(row["seconds"] for row in read(path)) if path.exists() else 0.0
