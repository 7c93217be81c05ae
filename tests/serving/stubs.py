"""Servers that speak TensorFlow Serving's APIs and run a `Core`, on ports of their own."""

import contextlib
import http.server
import json
import re
import threading
import urllib.parse
from concurrent import futures

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tests.serving import rest_rules
from tests.serving.core import StatusError

# model_servers/http_rest_api_util.cc
_WHICH = r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_QUESTION = re.compile(_WHICH + r":(classify|predict)")
_STATUS = re.compile(_WHICH + r"(?:/(metadata))?")
# model_servers/http_server.cc
_HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


@contextlib.contextmanager
def rest(core):
    """Gives the address of a REST server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._answer(_got, _STATUS)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(lambda *which: _posted(*which, body), _QUESTION)

        def _answer(self, answered, pattern):
            try:
                match = pattern.fullmatch(self.path)
                if not match:
                    raise StatusError("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
                self._reply(200, answered(core, *match.groups()))
            except StatusError as error:
                content = json.dumps({"error": error.message}).encode()
                self._reply(_HTTP.get(error.code, 500), content)

        def _reply(self, status, content):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with listening(Handler) as address:
        yield address


@contextlib.contextmanager
def listening(handler, port=0):
    """Gives the address of an HTTP server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _posted(core, model, version, label, method, body):
    if method == "classify":
        request = rest_rules.classify_request(body)
        _address(request.model_spec, model, version, label)
        return rest_rules.classify_reply(core.classify(request))

    def signature(name):
        _, found = core.find(spec)
        if (name or "serving_default") not in found.signature_defs:
            raise StatusError("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def')
        return found.signature_defs[name or "serving_default"]

    spec = get_model_status_pb2.GetModelStatusRequest().model_spec
    _address(spec, model, version, label)
    request, rows = rest_rules.predict_request(body, signature)
    _address(request.model_spec, model, version, label)
    return rest_rules.predict_reply(core.predict(request), rows)


def _got(core, model, version, label, metadata):
    kinds = (get_model_metadata_pb2.GetModelMetadataRequest, get_model_status_pb2.GetModelStatusRequest)
    request = kinds[0](metadata_field=["signature_def"]) if metadata else kinds[1]()
    _address(request.model_spec, model, version, label)
    if not metadata:
        return json_format.MessageToJson(core.status(request), always_print_fields_with_no_presence=True).encode()
    response = core.metadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    spec, found = (
        json_format.MessageToDict(part, preserving_proto_field_name=True) for part in (response.model_spec, signatures)
    )
    return json.dumps({"model_spec": spec, "metadata": {"signature_def": found}}).encode()


def _address(spec, model, version, label):
    spec.name = urllib.parse.unquote(model)
    if version is not None:
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = urllib.parse.unquote(label)


@contextlib.contextmanager
def grpc_server(core, port=0):
    """Gives the address of a gRPC server."""

    def of(method):
        def answered(self, request, context):
            try:
                return method(request)
            except StatusError as error:
                # util/status_util.cc keeps the first 1024 characters.
                context.abort(grpc.StatusCode[error.code], error.message[:1024])

        return answered

    class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        Predict, Classify, GetModelMetadata = of(core.predict), of(core.classify), of(core.metadata)

    class Models(model_service_pb2_grpc.ModelServiceServicer):
        GetModelStatus = of(core.status)

    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(), server)
    found = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{found}"
    finally:
        server.stop(None).wait()
