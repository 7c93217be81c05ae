import os
import signal
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
