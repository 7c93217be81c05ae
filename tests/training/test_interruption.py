import os
import signal
import threading

from keras_norms.training import interruption


def test_sigterm_is_a_request_within_the_context_alone():
    before = signal.getsignal(signal.SIGTERM)
    with interruption.termination_request() as request:
        assert not request.made
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # a second one does no harm
        assert request.made
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_have_no_signals():
    made = []

    def run():
        with interruption.termination_request() as request:
            made.append(request.made)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert made == [False]
