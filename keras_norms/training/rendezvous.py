"""Where the workers of a run meet before TensorFlow starts.

TensorFlow waits for workers without end, in C++ and with Python's lock held: no thread, no signal handler and no Ctrl-C
runs meanwhile (2.21). So they meet here first: each waits, says for whom, and goes on when all have come.

A worker connects to the chief's address and sends one line of JSON: its number, and what the run is about. The chief
answers with lines of JSON, a word and a text: `waiting` from time to time, and at the end `go`, `late` or `other`.
"""

import contextlib
import json
import os
import socket
import sys
import time

_NOTICE, _ANSWER = 15.0, 5.0  # seconds between two notices, and for an answer over the network
_LONGEST = 100_000  # characters of a line
_ERRORS = {"late": TimeoutError, "other": ValueError}


def meet(addresses, index, about, limit=600):
    """Returns when all workers have come.

    Args:
        addresses: List of strings, `host:port` of each worker, the chief's first.
        index: Integer, which of them this is.
        about: Dict, as JSON, that must be equal on all workers.
        limit: Number, the seconds to wait.

    Raises:
        ValueError: They are not all about the same.
        TimeoutError: Not all have come in time.
        OSError: The port of this worker is taken.
    """
    deadline = time.monotonic() + limit
    with _listener(addresses[index]) as listener:
        if index == 0:
            _receive(listener, addresses, about, deadline)
        else:
            _join(addresses[0], index, about, deadline)


def _listener(address):
    """Returns a socket at the port of an address, on all interfaces, as TensorFlow listens."""
    port = int(address.rpartition(":")[2])
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise OSError(
            f"This worker must be able to listen at its address in TF_CONFIG. Received: {address} "
            f"({os.strerror(error.errno)}). End the process that has the port, or choose another on all workers."
        ) from error


def _receive(listener, addresses, about, deadline):
    """Lets the others in, and tells them to go on when all are there."""
    come, noticed = {}, time.monotonic()
    try:
        while missing := [f"{n} at {addresses[n]}" for n in range(1, len(addresses)) if n not in come]:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Not all workers have come in time. Missing: {', '.join(missing)}. Start the same command on "
                    "every machine."
                )
            if time.monotonic() - noticed > _NOTICE:
                noticed = time.monotonic()
                waiting = f"Waiting for worker(s) {', '.join(missing)}."
                _say(waiting)
                _tell(come, "waiting", waiting)
            _let_in(listener, come, len(addresses))
            for number in [number for number, (peer, _) in come.items() if _has_left(peer)]:
                come.pop(number)[0].close()
        for number in sorted(come):
            _check_same(about, number, come[number][1])
    except (TimeoutError, ValueError) as error:
        _end(come, "late" if isinstance(error, TimeoutError) else "other", str(error))
        raise
    _end(come, "go", "")


def _let_in(listener, come, size):
    """Waits a second for a worker, and adds its connection and what it is about to those that have come."""
    listener.settimeout(1)
    try:
        peer, _ = listener.accept()
    except TimeoutError:
        return
    try:
        peer.settimeout(_ANSWER)
        number, theirs = json.loads(peer.makefile(encoding="utf-8").readline(_LONGEST))
        known = 0 < number < size
    except (OSError, ValueError, TypeError):  # none of ours: a worker of an earlier run, that speaks gRPC
        known = False
    if not known:
        peer.close()
    elif number in come and not _has_left(come[number][0]):
        _end({number: (peer, None)}, "other", f"There is a worker {number} already: two have the same TF_CONFIG.")
    else:
        come[number] = peer, theirs


def _join(address, index, about, deadline):
    """Goes to the chief, again and again until it is there, and waits for its word."""
    host, _, port = address.rpartition(":")
    noticed, word = time.monotonic(), "waiting"
    while word == "waiting":
        # The chief knows who is missing, and is given time to say so.
        if time.monotonic() > deadline + 2 * _NOTICE:
            raise TimeoutError(f"Worker 0 has not come to {address} in time. Start the same command on every machine.")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER) as chief:
                chief.sendall(json.dumps([index, about]).encode() + b"\n")
                chief.settimeout(2 * _NOTICE)
                for line in chief.makefile(encoding="utf-8"):
                    word, text = json.loads(line)
                    if word != "waiting":
                        break
                    _say(text)
                    noticed = time.monotonic()
        except (OSError, ValueError, TypeError):  # not there yet, or what answers is of an earlier run
            word = "waiting"
        if word == "waiting":
            if time.monotonic() - noticed > _NOTICE:
                noticed = time.monotonic()
                _say(f"Waiting for worker 0 at {address}.")
            time.sleep(1)
    if word in _ERRORS:
        raise _ERRORS[word](text)


def _check_same(about, number, theirs):
    own = json.loads(json.dumps(about))
    differences = [
        f"{key}={own.get(key)!r} on worker 0, {theirs.get(key)!r} on worker {number}"
        for key in sorted(own.keys() | theirs.keys())
        if own.get(key) != theirs.get(key)
    ]
    if differences:
        raise ValueError(
            f"All workers must have the same settings and versions. Received: {'; '.join(differences)}. Start the "
            "same command on every machine."
        )


def _tell(come, word, text):
    for peer, _ in come.values():
        with contextlib.suppress(OSError):
            peer.sendall(json.dumps([word, text]).encode() + b"\n")


def _end(come, word, text):
    """Says the last word, and waits until the others have closed: who closes first keeps the port for a while."""
    _tell(come, word, text)
    for peer, _ in come.values():
        with contextlib.suppress(OSError), peer:
            peer.settimeout(_ANSWER)
            peer.recv(1)


def _has_left(peer):
    peer.settimeout(0)
    try:
        return not peer.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        peer.settimeout(_ANSWER)


def _say(text):
    print(text, file=sys.stderr, flush=True)
