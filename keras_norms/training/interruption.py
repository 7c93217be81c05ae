"""Being told to stop: from the keyboard, or by a machine that is about to be taken away."""

import contextlib
import signal
import sys
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

    def __init__(self, told=None):
        """Makes the request that a `KeyboardInterrupt` is which was raised and lost."""
        self.made = isinstance(told, Preempted)
        self.interrupted = isinstance(told, KeyboardInterrupt) and not self.made

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


class AtOnce:
    """Raises wherever the program is what a signal asks for.

    Attributes:
        told: None, or the first `KeyboardInterrupt` raised.
    """

    told = None

    def end(self, *_):
        self._raise(Preempted("Told to end. What has been saved is kept; the same command goes on."))

    def interrupt(self, *_):
        self._raise(KeyboardInterrupt())

    def _raise(self, interrupt):
        self.told = self.told or interrupt
        raise interrupt


@contextlib.contextmanager
def termination_at_once():
    """Raises `Preempted` at SIGTERM and `KeyboardInterrupt` at Ctrl-C, and nothing else after one of them.

    What is raised inside TensorFlow's C code arrives as another error, such as an attribute that is missing; what is
    raised in an object's `__del__` is lost, and a `termination_request` that begins later finds it made. A program that
    leaves the context with a `KeyboardInterrupt` is ending: further signals do not disturb it.
    """
    at_once = AtOnce()
    handlers = {signal.SIGTERM: at_once.end, signal.SIGINT: at_once.interrupt}
    with _lost_in_silence(at_once), _handled(handlers) as after:
        try:
            yield
        except KeyboardInterrupt:
            after.update(dict.fromkeys(after, signal.SIG_IGN))
            raise
        except Exception as error:
            if not at_once.told:
                raise
            after.update(dict.fromkeys(after, signal.SIG_IGN))
            raise at_once.told from error


@contextlib.contextmanager
def termination_request():
    """Yields a `Request` that SIGTERM makes, in place of ending the process at once, and Ctrl-C.

    What Python raises at Ctrl-C wherever it is can come between a step and what follows from it.

    Python handles signals in its main thread alone: in another one they stay what they were, and so does a handler of
    Ctrl-C that is neither Python's own nor that of `termination_at_once`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Request()
        return
    handler = signal.getsignal(signal.SIGINT)
    at_once = getattr(handler, "__self__", None)
    raises = isinstance(at_once, AtOnce)
    request = Request(at_once.told if raises else None)
    handlers = {signal.SIGTERM: request.make}
    if raises or handler is signal.default_int_handler:
        handlers[signal.SIGINT] = request.interrupt
    with _handled(handlers):
        yield request


@contextlib.contextmanager
def _lost_in_silence(at_once):
    """Nothing is written of errors that are lost once an `AtOnce` was told: of its own, and what C code makes of it."""
    unraisable, uncaught = sys.unraisablehook, sys.excepthook
    sys.unraisablehook = lambda lost: None if at_once.told else unraisable(lost)
    sys.excepthook = lambda *error: None if at_once.told else uncaught(*error)
    try:
        yield
    finally:
        sys.unraisablehook, sys.excepthook = unraisable, uncaught


@contextlib.contextmanager
def _handled(handlers):
    """Signals have these handlers in this context. Yields a dict of those of after it, which are those of before."""
    after = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield after
    finally:
        for number, handler in after.items():
            signal.signal(number, handler)
