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
        made: Boolean.
    """

    made = False

    def make(self, *_):
        self.made = True


@contextlib.contextmanager
def termination_request():
    """Yields a `Request` that SIGTERM makes, in place of ending the process at once.

    Python handles signals in its main thread alone: in another one, and where a handler is set already by somebody
    else's code, SIGTERM stays what it was.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.make)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
