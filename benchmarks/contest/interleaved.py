"""Entrants measured in turns: what else the machine does falls on all of them alike."""

import dataclasses

from benchmarks.contest.process import EntrantError, Process


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured of an entrant.

    Args:
        seconds: Of a repeat, one for each round.
        facts: What its workload knew of itself.
        first_seconds: From the call of `make` to the end of the first repeat: building, tracing and compiling.
        memory_before: Bytes the operating system held for the process before `make`, with everything imported.
        memory_peak: Bytes at most until the second repeat was done.
        device_memory: The same on a device, where the workload can tell.
        failed: Why there is nothing of the above, or not all: the last line of an error.
    """

    seconds: list = dataclasses.field(default_factory=list)
    facts: dict = dataclasses.field(default_factory=dict)
    first_seconds: float | None = None
    memory_before: int | None = None
    memory_peak: int | None = None
    device_memory: int | None = None
    failed: str | None = None

    @property
    def peak_memory(self):
        """The bytes by which memory grew at most, on the device if that is known."""
        return self.memory_peak - self.memory_before if self.device_memory is None else self.device_memory


def measure(entrants, rounds, least_seconds=0.0, threads=1, together=None):
    """Measures each entrant once a round, in an order that rotates.

    Args:
        entrants: `Entrant`s of different names.
        rounds: How many times each is measured.
        least_seconds: A repeat that takes less is repeated within the round until they have passed, and averaged.
        threads: How many each entrant may use.
        together: How many entrants are alive together at most, where memory is short; all if `None`.

    Returns:
        A dict from the entrants' names to their `Measured`.
    """
    together = together or max(1, len(entrants))
    measured = {}
    for first in range(0, len(entrants), together):
        measured |= measure_together(entrants[first : first + together], rounds, least_seconds, threads)
    return measured


def measure_together(entrants, rounds, least_seconds, threads):
    """As `measure`, all entrants alive together."""
    processes, seconds, failed = {}, {entrant.name: [] for entrant in entrants}, {}
    try:
        for entrant in entrants:
            try:
                processes[entrant.name] = Process(entrant, threads)
                processes[entrant.name].settle()
            except EntrantError as error:
                failed[entrant.name] = str(error)
        for names in turns(list(processes), rounds):
            for name in names:
                if name in failed:
                    continue
                try:
                    seconds[name].append(processes[name].measure(least_seconds))
                    processes[name].settle()
                except EntrantError as error:
                    failed[name] = str(error)
    finally:
        for process in processes.values():
            process.stop()
    built = {name: process.built for name, process in processes.items()}
    return {name: Measured(seconds[name], **built.get(name, {}), failed=failed.get(name)) for name in seconds}


def turns(names, rounds):
    """Yields the order of each round: who begins comes last in the next."""
    for number in range(rounds):
        first = number % len(names) if names else 0
        yield names[first:] + names[:first]
