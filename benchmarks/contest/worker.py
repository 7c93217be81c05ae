"""The process of an entrant: it imports a module, then builds and repeats workloads as messages tell it to.

The first process imports and forks for each order it gets. Importing TensorFlow takes three seconds, a copy of the
process that has imported it none, and the memory of the copy is counted from where it starts. Messages are JSON, one a
packet of a Unix socket; what frameworks print goes to the file of errors that comes with the order.
"""

import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback

LONGEST = 1 << 16


def main():
    """Imports the module of the arguments, says so, and serves orders until nobody is left to give them."""
    control, module = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    # JAX takes as many threads as it has processors.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ["OMP_NUM_THREADS"])])
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        send(control, {"error": f"not installed: {error}"})
        return
    except Exception as error:
        traceback.print_exc()
        send(control, {"error": in_a_line(error)})
        return
    send(control, {})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, LONGEST, 2)
        if not packet:
            return
        order = json.loads(packet)
        if order["fork"] and os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            control.close()
            serve(socket.socket(fileno=descriptors[0]), descriptors[1], module, order)


def serve(channel, errors, module, order):
    """Builds a workload, warms it up, and repeats it for each message, until the channel is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if order["fork"]:
        os.setsid()
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    send(channel, {"process": os.getpid()})
    try:
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        make = getattr(sys.modules[module], order["function"])
        before, started = memory("VmRSS"), time.perf_counter()
        workload = make(**order["arguments"])
        workload.repeat()
        first = time.perf_counter() - started
        workload.repeat()
        send(channel, built(workload, first, before))
        while packet := channel.recv(LONGEST):
            send(channel, {"seconds": seconds(workload.repeat, json.loads(packet)["least_seconds"])})
    except Exception as error:
        traceback.print_exc()
        send(channel, {"error": in_a_line(error)})
    sys.stderr.flush()
    # Frameworks left to shut down by themselves may hang in a forked process.
    os._exit(0)


def built(workload, first, before):
    """Returns what is known of a workload that has been built and repeated twice."""
    return {
        "facts": workload.facts,
        "first_seconds": first,
        "memory_before": before,
        "memory_peak": memory("VmHWM"),
        "device_memory": workload.device_memory() if workload.device_memory else None,
    }


def seconds(repeat, least):
    """Returns the seconds of a repeat, the mean of as many as fill the least seconds."""
    count, started = 0, time.perf_counter()
    while not count or time.perf_counter() - started < least:
        repeat()
        count += 1
    return (time.perf_counter() - started) / count


def memory(field):
    """Returns the bytes the operating system holds for this process: `"VmRSS"` now, `"VmHWM"` at most so far."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{field}:"))


def in_a_line(error):
    return traceback.format_exception_only(error)[-1].strip().splitlines()[0][:500]


def send(channel, message):
    channel.send(json.dumps(message).encode())


if __name__ == "__main__":
    main()
