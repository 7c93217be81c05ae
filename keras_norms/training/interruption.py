"""Being told to stop: from the keyboard, or by a machine that is about to be taken away."""

import contextlib
import signal
import threading


class Interrupted(KeyboardInterrupt):
    """The run was interrupted. Its state is saved; the message says how to go on."""


class Preempted(Interrupted):
    """The process was told to end (SIGTERM), or another worker of the run was. The state is saved."""


class Request:
    """Whether the process has been told to end.

    Attributes:
        made: Boolean, by the machine.
        interrupted: Boolean, from the keyboard.
    """

    made = interrupted = False

    def make(self, *_):
        self.made = True

    def interrupt(self, *_):
        """Takes note of a first interrupt. Another one is not waited with."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def check(self):
        """Raises the `KeyboardInterrupt` there has been, now that it does no harm."""
        if self.interrupted:
            raise KeyboardInterrupt


@contextlib.contextmanager
def termination_request():
    """Yields a `Request` that SIGTERM makes, in place of ending the process at once, and Ctrl-C.

    What Python raises at Ctrl-C wherever it is can come between a step and what follows from it, and is lost in an
    object's `__del__`.

    Python handles signals in its main thread alone: in another one they stay what they were, and so does a handler of
    Ctrl-C that is not Python's own.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, request.make)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, request.interrupt)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
