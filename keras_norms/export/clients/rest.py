"""TensorFlow Serving's REST API, v1."""

import base64
import contextlib
import http
import json
import urllib.parse

import requests
import urllib3

from keras_norms.export.clients import refusals
from keras_norms.export.clients.answers import Answer, most_probable
from keras_norms.export.clients.refusals import ServingError, StatusError

# tensorflow_serving/model_servers/http_server.cc maps several codes of gRPC to 400, 409 and 500.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Client:
    """Asks over REST. See `asking.connect`."""

    def __init__(self, server, target, patience):
        self.server, self.target, self._patience = server, target, patience
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=_retry(patience.retries)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session.close()

    def ask(self, files):
        """Returns an `Answer` for each image.

        Args:
            files: Sequence of the bytes of image files.

        Raises:
            RefusedError: The server refuses an image.
            ServingError: Anything else.
        """
        encoded = [{"b64": base64.b64encode(file).decode("ascii")} for file in files]
        try:
            if self.target.signature == "classify":
                return self._classify(encoded)
            return self._predict(encoded)
        except StatusError as error:
            raise refusals.explained(self, error) from error

    def versions(self):
        """Returns a triple for each version of the model: its number, its state, and what is wrong with it."""
        reply = self._request("GET", self._path(model_alone=True))
        with _as_told(self.server, reply):
            return [
                (int(found["version"]), found["state"], found.get("status", {}).get("error_message", ""))
                for found in reply["model_version_status"]
            ]

    def signatures(self):
        """Returns the names of the model's signatures."""
        reply = self._request("GET", self._path() + "/metadata")
        with _as_told(self.server, reply):
            return set(reply["metadata"]["signature_def"]["signature_def"])

    def _predict(self, encoded):
        body = {"signature_name": self.target.signature, "instances": [{"image_bytes": file} for file in encoded]}
        reply = self._request("POST", self._path() + ":predict", body)
        with _as_told(self.server, reply):
            rows = [
                most_probable(row["top_5"], [float(value) for value in row["probabilities"]], self.target.version)
                for row in reply["predictions"]
            ]
            return _as_many(rows, encoded)

    def _classify(self, encoded):
        body = {"signature_name": self.target.signature, "examples": [{"image/encoded": file} for file in encoded]}
        reply = self._request("POST", self._path() + ":classify", body)
        with _as_told(self.server, reply):
            rows = []
            for row in reply["results"]:
                classes, scores = zip(*row, strict=True)
                rows.append(Answer(classes, tuple(map(float, scores)), self.target.version))
            return _as_many(rows, encoded)

    def _path(self, model_alone=False):
        path = "/v1/models/" + urllib.parse.quote(self.target.model, safe="")
        if model_alone:
            return path
        if self.target.version is not None:
            return f"{path}/versions/{self.target.version}"
        if self.target.label is not None:
            return f"{path}/labels/{urllib.parse.quote(self.target.label, safe='')}"
        return path

    def _request(self, method, path, body=None):
        """Returns the JSON object of a reply."""
        try:
            response = self._session.request(
                method,
                self.server.url + path,
                json=body,
                timeout=self._patience.timeout,
                verify=self.server.certificate,  # Not the session's, over which variables of the environment win.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self._unanswered(error) from error
        # Not the strict `response.json()`: a message may quote bytes of the request. NaN is read as it is written.
        try:
            reply = json.loads(response.content.decode("utf-8", "replace"), strict=False)
        except ValueError:
            reply = None
        if response.ok and not response.is_redirect and isinstance(reply, dict):
            return reply
        if isinstance(reply, dict) and isinstance(reply.get("error"), str):
            raise StatusError(_CODES.get(response.status_code, str(response.status_code)), reply["error"])
        raise refusals.unexpected(self.server, f"{_status(response)}, {response.text[:80]!r}")

    def _unanswered(self, error):
        """Returns the exception for a request that got no reply."""
        address, seconds = self.server.address, self._patience.timeout
        reason = str(getattr(error.args[0], "reason", error) if error.args else error)
        if isinstance(error, requests.exceptions.SSLError):
            why = f"There is no trusted TLS connection to {address}: {reason}."
        elif isinstance(error, requests.ConnectTimeout):
            why = f"The server {address} accepts no connection within {seconds:g} seconds."
        elif isinstance(error, requests.Timeout):
            why = f"The server {address} does not answer within {seconds:g} seconds."
        elif "BadStatusLine" in reason:
            why = f"The server {address} does not speak HTTP/1. Is this its gRPC port, in place of REST's?"
        else:
            reason = reason.rpartition("a new connection: ")[2]
            why = f"There is no connection to {address}: {reason}. Is the server running, with this REST port?"
        return ServingError(why)


class _Retry(urllib3.Retry):
    """All that urllib3 repeats, but a request that took too long: it would take as long again."""

    def increment(self, method=None, url=None, response=None, error=None, _pool=None, _stacktrace=None):
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


def _retry(retries):
    return _Retry(
        total=retries,
        allowed_methods=None,  # An answer changes nothing at the server: POST, too, may be repeated.
        status_forcelist=(429, 503),
        raise_on_status=False,
        backoff_factor=0.25,  # No pause before the first, then 0.5, 1 and 2 seconds
        backoff_jitter=0.25,
        retry_after_max=10,
    )


@contextlib.contextmanager
def _as_told(server, reply):
    """In this context, a reply that has another form than the signature's is an error that shows it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refusals.unexpected(server, repr(reply)[:200]) from error


def _as_many(rows, files):
    if len(rows) != len(files):
        raise ValueError(f"{len(rows)} answers")
    return rows


def _status(response):
    known = response.status_code in set(http.HTTPStatus)
    return f"{response.status_code} {http.HTTPStatus(response.status_code).phrase if known else ''}".strip()
