"""What clients send, letter by letter, and what they say when something else than TensorFlow Serving answers."""

import base64
import contextlib
import http.server
import json
import math
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from concurrent import futures

import grpc
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_service_pb2_grpc

from keras_norms.export import clients
from tests.serving import stubs

IMAGES = [b"\xff\xd8\xff\x00one", b"\x89PNG\r\n\x1a\ntwo"]
ROW = {"probabilities": [0.25, 0.125, 0.625], "top_5": ["c", "a", "b"], "class_id": 2, "class_name": "c"}
IMPATIENT = clients.Patience(timeout=0.5, retries=0)


def connect(api, address, patience=IMPATIENT, certificate=None, **which):
    return clients.connect(api, clients.Server(address, certificate), clients.Target("m", **which), patience)


def failure(api, address, **options):
    """Returns what is said in place of an answer."""
    with connect(api, address, **options) as client, pytest.raises(clients.ServingError) as found:
        client.ask(IMAGES[:1])
    assert not isinstance(found.value, clients.RefusedError)
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.fixture
def replying():
    """Returns a function that starts a server of scripted replies, and gives its address and the requests it gets."""
    running = []

    def start(*replies):
        """The last reply stands for all that follow. A reply is (status, body, headers), or `None` to hang up."""
        requests, left = [], list(replies)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                requests.append((self.command, self.path, body))
                reply = left.pop(0) if len(left) > 1 else left[0]
                if reply is None:
                    self.close_connection = True
                    return
                status, content, *headers = reply
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": len(content), **dict(headers)}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        server = stubs.listening(Handler)
        running.append(server)
        return server.__enter__(), requests

    yield start
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture
def predicting():
    """Returns a function that starts a gRPC server with scripted replies, and gives its address and its requests."""
    running = []

    def start(predicted=None, classified=None):
        requests = []

        class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):  # noqa: N802  # gRPC's name
                requests.append(request)
                return predicted(context) if callable(predicted) else predicted

            def Classify(self, request, context):  # noqa: N802
                requests.append(request)
                return classified

        server = grpc.server(futures.ThreadPoolExecutor(2))
        if predicted or classified:
            prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        running.append(server)
        return address, requests

    yield start
    for server in running:
        server.stop(None).wait()


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def secure_server(api, key, certificate):
    """Gives the port of a server with TLS that knows no request."""
    if api == "grpc":
        server = grpc.server(futures.ThreadPoolExecutor(2))
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        port = server.add_secure_port("localhost:0", credentials)
        server.start()
        yield port
        server.stop(None).wait()
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("localhost", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def response(**outputs):
    """Returns a `PredictResponse` of version 7, of tensors or of (shape, field, values)."""
    reply = predict_pb2.PredictResponse()
    reply.model_spec.version.value = 7
    for name, (shape, field, values) in outputs.items():
        tensor = reply.outputs[name]
        tensor.dtype = types_pb2.DT_STRING if field == "string_val" else types_pb2.DT_FLOAT
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        if field == "tensor_content":
            tensor.tensor_content = struct.pack(f"<{len(values)}f", *values)
        else:
            getattr(tensor, field).extend(values)
    return reply


TOP_5 = ((2, 2), "string_val", [b"c", "ä".encode(), b"a", b"b"])


# What is sent


@pytest.mark.parametrize(
    ("which", "path"),
    [
        ({}, "/v1/models/m:predict"),
        ({"version": 12}, "/v1/models/m/versions/12:predict"),
        ({"label": "stable"}, "/v1/models/m/labels/stable:predict"),
    ],
)
def test_rest_predicts_in_rows(replying, which, path):
    address, requests = replying((200, {"predictions": [ROW, ROW]}))
    with connect("rest", address, **which) as client:
        answers = client.ask(IMAGES)
    assert answers == [clients.Answer(("c", "a", "b"), (0.625, 0.25, 0.125), which.get("version"))] * 2
    ((method, sent_path, body),) = requests
    assert (method, sent_path) == ("POST", path)
    assert json.loads(body) == {
        "signature_name": "image_bytes",
        "instances": [{"image_bytes": {"b64": base64.b64encode(image).decode()}} for image in IMAGES],
    }


def test_rest_classifies_examples(replying):
    results = [[["c", 0.625], ["a", 0.25]], [["b", 1], ["a", 0]]]
    address, requests = replying((200, {"results": results}))
    with connect("rest", address, signature="classify") as client:
        answers = client.ask(IMAGES)
    assert answers == [clients.Answer(("c", "a"), (0.625, 0.25)), clients.Answer(("b", "a"), (1.0, 0.0))]
    ((_, path, body),) = requests
    assert path == "/v1/models/m:classify"
    assert json.loads(body) == {
        "signature_name": "classify",
        "examples": [{"image/encoded": {"b64": base64.b64encode(image).decode()}} for image in IMAGES],
    }


def test_grpc_predicts_a_vector_of_strings(predicting):
    probabilities = ((2, 3), "float_val", [0.25, 0.125, 0.625, 0.5, 0.25, 0.25])
    address, requests = predicting(response(probabilities=probabilities, top_5=TOP_5))
    with connect("grpc", address, label="canary") as client:
        answers = client.ask(IMAGES)
    assert answers == [clients.Answer(("c", "ä"), (0.625, 0.25), 7), clients.Answer(("a", "b"), (0.5, 0.25), 7)]
    expected = predict_pb2.PredictRequest()
    expected.model_spec.name, expected.model_spec.signature_name = "m", "image_bytes"
    expected.model_spec.version_label = "canary"
    tensor = expected.inputs["image_bytes"]
    tensor.dtype = types_pb2.DT_STRING
    tensor.tensor_shape.dim.add(size=2)
    tensor.string_val.extend(IMAGES)
    assert requests == [expected]


def test_grpc_classifies_examples(predicting):
    reply = classification_pb2.ClassificationResponse()
    reply.model_spec.version.value = 7
    for label in "ca":
        reply.result.classifications.add().classes.add(label=label, score=0.5)
    address, requests = predicting(classified=reply)
    with connect("grpc", address, signature="classify", version=3) as client:
        assert client.ask(IMAGES) == [clients.Answer(("c",), (0.5,), 7), clients.Answer(("a",), (0.5,), 7)]
    expected = classification_pb2.ClassificationRequest()
    expected.model_spec.name, expected.model_spec.signature_name = "m", "classify"
    expected.model_spec.version.value = 3
    for image in IMAGES:
        example = expected.input.example_list.examples.add()
        example.features.feature["image/encoded"].bytes_list.value.append(image)
    assert requests == [expected]


# What comes back


@pytest.mark.parametrize(
    "probabilities",
    [
        ((2, 3), "tensor_content", [0.25, 0.125, 0.625, 0.25, 0.375, 0.375]),
        ((2, 3), "float_val", [0.25, 0.125, 0.625, 0.25, 0.375]),  # The last one stands for the rest.
    ],
)
def test_tensors_in_every_form(predicting, probabilities):
    address, _ = predicting(response(probabilities=probabilities, top_5=TOP_5))
    with connect("grpc", address) as client:
        assert [answer.scores for answer in client.ask(IMAGES)] == [(0.625, 0.25), (0.375, 0.375)]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"top_5": TOP_5}, "no output probabilities"),
        ({"output_0": TOP_5}, "no output probabilities, top_5"),
        ({"probabilities": ((2,), "float_val", [0.5, 0.5]), "top_5": TOP_5}, r"type DT_FLOAT and shape \[2\]"),
        ({"probabilities": ((2, 1), "float_val", [0.5, 0.5]), "top_5": TOP_5}, "2 answers for 1 images"),
    ],
)
def test_grpc_replies_of_another_model(predicting, outputs, words):
    address, _ = predicting(response(**outputs))
    with connect("grpc", address) as client, pytest.raises(clients.ServingError, match=words):
        client.ask(IMAGES[:1])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((200, b"<html><title>Router</title></html>"), "<html>"),
        ((404, b"<html>not found</html>"), "404 Not Found"),
        ((404, {"detail": "Not Found"}), "404 Not Found"),
        ((413, b"too large"), "413"),
        ((502, b"<html>upstream</html>"), "502 Bad Gateway"),
        ((799, b""), "799"),
        ((301, b"", ("Location", "https://localhost/")), "301 Moved Permanently"),
        ((200, {"predictions": [[0.1, 0.9]]}), "predictions"),
        ((200, {"predictions": [ROW, ROW]}), "predictions"),
        ((200, {"predictions": [{"probabilities": [[0.5]], "top_5": ["a"]}]}), "predictions"),
        ((200, {"outputs": ROW}), "outputs"),
        ((200, [1, 2]), "[1, 2]"),
        ((200, b""), "200 OK, ''"),
    ],
)
def test_http_servers_of_another_kind(replying, reply, words):
    address, _ = replying(reply)
    said = failure("rest", address)
    assert "must answer as TensorFlow Serving does" in said
    assert words in said


def test_messages_need_not_be_json_to_the_letter(replying):
    address, _ = replying((400, b'{ "error": "not \xff valid\n[[node]]" }'))
    with connect("rest", address) as client, pytest.raises(clients.RefusedError, match=r"not . valid$"):
        client.ask(IMAGES[:1])


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_tokens_that_are_not_json(replying, token):
    # One that is not among the first two.
    reply = f'{{"predictions": [{{"probabilities": [0.5, 0.25, 0.125, {token}], "top_5": ["a", "b"]}}]}}'.encode()
    address, _ = replying((200, reply))
    with connect("rest", address) as client:
        (answer,) = client.ask(IMAGES[:1])
    assert not answer.finite
    assert len(answer.scores) == 2


# No connection, or a wrong one


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_refused(api, free_port):
    said = failure(api, f"127.0.0.1:{free_port}")
    assert f"There is no connection to 127.0.0.1:{free_port}" in said
    assert "Connection refused" in said
    assert "Is the server running" in said


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_unknown_host(api):
    assert "There is no connection to no_such_host.invalid:80" in failure(api, "no_such_host.invalid:80")


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_server_that_starts_late(api, free_port, replying):
    """The port opens after the first attempts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            content = json.dumps({"predictions": [ROW]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802
            probabilities = ((1, 3), "float_val", ROW["probabilities"])
            return response(probabilities=probabilities, top_5=((1, 3), "string_val", [b"c", b"a", b"b"]))

    running = []

    def start():
        time.sleep(0.4)
        if api == "rest":
            running.append(stubs.listening(Handler, free_port))
            running[0].__enter__()
        else:
            server = grpc.server(futures.ThreadPoolExecutor(2))
            prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), server)
            server.add_insecure_port(f"127.0.0.1:{free_port}")
            server.start()
            running.append(server)

    starting = threading.Thread(target=start)
    starting.start()
    with connect(api, f"127.0.0.1:{free_port}", clients.Patience(20, 4)) as client:
        (answer,) = client.ask(IMAGES[:1])
    assert answer.classes == ("c", "a", "b")
    starting.join()
    running[0].__exit__(None, None, None) if api == "rest" else running[0].stop(None).wait()


def test_rest_at_the_port_of_grpc(predicting):
    address, _ = predicting(response())
    assert "Is this its gRPC port" in failure("rest", address)


def test_grpc_at_the_port_of_rest(replying):
    address, _ = replying((200, {}))
    assert "Is this its REST port" in failure("grpc", address)


def test_a_grpc_server_of_another_kind(predicting):
    address, _ = predicting()
    assert "is a gRPC server, but not TensorFlow Serving" in failure("grpc", address)


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_server_that_does_not_answer_is_not_asked_again(api, replying, predicting):
    asked = threading.Event()
    if api == "rest":
        with socket.create_server(("127.0.0.1", 0)) as silent:
            begun = time.monotonic()
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            said = failure(api, address, patience=clients.Patience(0.5, 3))
    else:
        address, _ = predicting(lambda context: asked.wait(5) or response())
        begun = time.monotonic()
        said = failure(api, address, patience=clients.Patience(0.5, 3))
        asked.set()
    assert "does not answer within 0.5 seconds" in said
    assert 0.5 <= time.monotonic() - begun < 2


def test_a_connection_that_breaks_is_tried_again(replying):
    address, requests = replying(None, (200, {"predictions": [ROW]}))
    with connect("rest", address, clients.Patience(20, 1)) as client:
        client.ask(IMAGES[:1])
    assert len(requests) == 2


def test_a_connection_that_keeps_breaking(replying):
    address, requests = replying(None)
    assert "There is no connection" in failure("rest", address, patience=clients.Patience(20, 1))
    assert len(requests) == 2


def test_a_retry_is_not_put_off_for_long(replying):
    busy = (503, {"error": "busy"}, ("Retry-After", "1"))
    address, _ = replying(busy, (200, {"predictions": [ROW]}))
    begun = time.monotonic()
    with connect("rest", address, clients.Patience(20, 1)) as client:
        client.ask(IMAGES[:1])
    assert time.monotonic() - begun >= 1
    assert client._session.get_adapter("http://").max_retries.retry_after_max == 10


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_tls(api, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with secure_server(api, key, certificate) as port:
        address = f"https://localhost:{port}"
        assert "CERTIFICATE_VERIFY_FAILED" in failure(api, address)
        # Trusted, the server is reached, and is not TensorFlow Serving.
        said = failure(api, address, certificate=str(certificate), patience=clients.Patience(10, 0))
        assert "TensorFlow Serving" in said


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "words"),
    [
        (clients.Server, {"address": "ftp://x:1"}, ValueError, "host:port"),
        (clients.Server, {"address": "x:1", "certificate": "nowhere.pem"}, FileNotFoundError, "nowhere.pem"),
        (clients.Target, {"model": ""}, ValueError, "model"),
        (clients.Target, {"model": "m", "version": 1, "label": "stable"}, ValueError, "not both"),
        (clients.Target, {"model": "m", "signature": "serving_default"}, ValueError, "image_bytes, classify"),
        (clients.Patience, {"timeout": 0}, ValueError, "timeout"),
        (clients.Patience, {"timeout": math.nan}, ValueError, "timeout"),
        (clients.Patience, {"retries": 5}, ValueError, "from 0 to 4"),
        (clients.Patience, {"retries": -1}, ValueError, "from 0 to 4"),
    ],
)
def test_contradictions_are_refused_first(kind, arguments, error, words):
    with pytest.raises(error, match=words):
        kind(**arguments)


def test_unknown_api():
    with pytest.raises(ValueError, match="rest, grpc"):
        connect("soap", "x:1")


@pytest.mark.parametrize(
    ("address", "secure", "url", "host_and_port"),
    [
        ("x:1", False, "http://x:1", "x:1"),
        ("http://x:1/", False, "http://x:1", "x:1"),
        ("https://x:1", True, "https://x:1", "x:1"),
        ("[::1]:8501", False, "http://[::1]:8501", "[::1]:8501"),
    ],
)
def test_addresses(address, secure, url, host_and_port):
    server = clients.Server(address)
    assert (server.secure, server.url, server.host_and_port) == (secure, url, host_and_port)


# Files


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF1234WEBP"])
def test_images_are_read(tmp_path, start):
    path = tmp_path / "any.name"
    path.write_bytes(start + b"\x00rest")
    assert clients.read(path) == start + b"\x00rest"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"<svg/>", "not an image"), (b"\xff\xd8", "not an image"), (b"%PDF-1.4", "not an image")],
)
def test_other_files_are_not(tmp_path, content, words):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        clients.read(path)


def test_paths_without_a_file(tmp_path):
    with pytest.raises(IsADirectoryError, match="folder"):
        clients.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        clients.read(tmp_path / "image.png")
    with pytest.raises(OSError, match="not a regular file"):
        clients.read("/dev/null")


def test_lines():
    answer = clients.Answer(("blue whale", "cat"), (0.98765, 0.01235))
    assert list(clients.lines("a.png", answer, 5)) == ["a.png", "  0.9877  blue whale", "  0.0123  cat"]
    answer = clients.Answer(answer.classes, answer.scores, 3)
    assert list(clients.lines("a.png", answer, 1)) == ["a.png (version 3)", "  0.9877  blue whale"]
