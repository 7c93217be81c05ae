import os
import signal
import sys
import threading

import pytest

from keras_norms.training import interruption


def test_sigterm_is_a_request_within_the_context_alone():
    before = signal.getsignal(signal.SIGTERM)
    with interruption.termination_request() as request:
        assert not request.made
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # a second one does no harm
        assert request.made
    assert signal.getsignal(signal.SIGTERM) is before


def test_interrupt_waits_and_a_second_one_does_not():
    with interruption.termination_request() as request:
        request.check()
        os.kill(os.getpid(), signal.SIGINT)
        assert request.interrupted
        assert not request.made
        with pytest.raises(KeyboardInterrupt):
            request.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handler_of_others_stays():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.termination_request():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_no_signals():
    made = []

    def run():
        with interruption.termination_request() as request:
            made.append(request.made)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert made == [False]


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def told_within_c_code(number):
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt as interrupt:
        raise AttributeError("'SymbolicTensor' object has no attribute '_type_spec'") from interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_that_arrives_as_another_error_stays_an_interrupt(number, handlers):
    with pytest.raises(KeyboardInterrupt) as told, interruption.termination_at_once():
        told_within_c_code(number)
    assert isinstance(told.value, interruption.Preempted) == (number == signal.SIGTERM)
    for number in handlers:
        os.kill(os.getpid(), number)  # does nothing


def test_error_without_an_interrupt_stays_itself(handlers):
    error = AttributeError("missing")
    with pytest.raises(AttributeError) as raised, interruption.termination_at_once():
        raise error
    assert raised.value is error
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_request_within_termination_at_once_waits_and_is_handed_back():
    with interruption.termination_at_once():
        with interruption.termination_request() as request:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            assert request.interrupted
            assert request.made
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


class _ToldInDel:
    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)


class _ErrorInDel:
    def __del__(self):
        raise ValueError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_that_python_loses_is_a_request_that_was_made(number, handlers, capsys):
    hooks = sys.unraisablehook, sys.excepthook
    with interruption.termination_at_once():
        _ToldInDel(number)
        sys.excepthook(SystemError, SystemError("a result with an exception set"), None)  # as C code prints it
        with interruption.termination_request() as request:
            assert (request.made, request.interrupted) == (number == signal.SIGTERM, number == signal.SIGINT)
    assert capsys.readouterr().err == ""
    assert (sys.unraisablehook, sys.excepthook) == hooks


def test_what_else_python_loses_is_written():
    lost = []
    before, sys.unraisablehook = sys.unraisablehook, lambda one: lost.append(one.exc_type)
    try:
        with interruption.termination_at_once():
            _ErrorInDel()
    finally:
        sys.unraisablehook = before
    assert lost == [ValueError]


def test_what_c_code_prints_without_an_interrupt_is_written(capsys):
    with interruption.termination_at_once():
        sys.excepthook(SystemError, SystemError("a result with an exception set"), None)
    assert "a result with an exception set" in capsys.readouterr().err
