"""Asks a running TensorFlow Serving what it sees in image files.

    python drivers/query.py --model resnet20 cat.jpg dog.png
    python drivers/query.py --api grpc --server localhost:8500 --model resnet20 --label stable cat.jpg

Prints the most probable classes of each image. What fails for one image is said on standard error, the others are
answered, and the exit status is 1. docs/serving.md says more.
"""

import sys

import bare  # noqa: F401  # first: it keeps TensorFlow from being imported
from absl import app, flags, logging

from keras_norms.export import clients

flags.DEFINE_enum("api", "rest", list(clients.PORTS), "how to ask")
flags.DEFINE_string("server", None, "host:port, or https://host:port for TLS; localhost:8501, or 8500 for gRPC")
flags.DEFINE_string("certificate", None, "file of certificates to trust with TLS, in place of the usual ones")
flags.DEFINE_string("model", None, "name of the model at the server", required=True)
flags.DEFINE_integer("version", None, "version of the model; the server's newest without this and --label")
flags.DEFINE_string("label", None, "label of a version, as the server is configured: stable, canary")
flags.DEFINE_enum("signature", clients.SIGNATURES[0], clients.SIGNATURES, "signature that takes image files")
flags.DEFINE_float("timeout", clients.Patience.timeout, "seconds to wait for an answer")
flags.DEFINE_integer("retries", clients.Patience.retries, "0 to 4: tries more if the server is not there or too busy")
flags.DEFINE_integer("batch_size", 8, "images in a request", lower_bound=1)
flags.DEFINE_integer("top", 5, "classes to print", lower_bound=1, upper_bound=5)


def main(argv):
    logging.set_verbosity(logging.ERROR)  # not each retry
    try:
        sys.exit(query(flags.FLAGS, argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except (clients.ServingError, ValueError, OSError) as error:
        sys.exit(f"query.py: {error}")


def query(given, paths):
    if not paths:
        raise ValueError("Name at least one image file.")
    server = clients.Server(given.server or f"localhost:{clients.PORTS[given.api]}", given.certificate)
    target = clients.Target(given.model, given.version, given.label, given.signature)
    patience = clients.Patience(given.timeout, given.retries)
    status = 0
    with clients.connect(given.api, server, target, patience) as client:
        for path, answer in clients.ask(client, paths, given.batch_size):
            if isinstance(answer, Exception):
                status = 1
                print(f"query.py: {path}: {answer}", file=sys.stderr, flush=True)
            else:
                print(*clients.lines(path, answer, given.top), sep="\n", flush=True)
    return status


if __name__ == "__main__":
    app.run(main)
