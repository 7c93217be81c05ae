"""Whom to ask: a server, one of its models, and how long to wait."""

import dataclasses
import pathlib

SIGNATURES = ("image_bytes", "classify")


@dataclasses.dataclass(frozen=True)
class Server:
    """A place in the network.

    Args:
        address: String, `host:port`; or a URL, of which `https` asks for TLS.
        certificate: Path of a file of certificates (PEM) to trust with TLS. The usual ones if `None`.
    """

    address: str
    certificate: str | None = None

    def __post_init__(self):
        scheme, separator, _ = self.address.rpartition("://")
        if separator and scheme not in ("http", "https"):
            raise ValueError(f"`address` must be host:port, or start with http(s)://. Received: {self.address!r}.")
        if self.certificate is not None and not pathlib.Path(self.certificate).is_file():
            raise FileNotFoundError(f"`certificate` must be a file. Received: {self.certificate!r}.")

    @property
    def secure(self):
        return self.address.startswith("https://")

    @property
    def url(self):
        return (self.address if "://" in self.address else f"http://{self.address}").rstrip("/")

    @property
    def host_and_port(self):
        return self.url.partition("://")[2]


@dataclasses.dataclass(frozen=True)
class Target:
    """What is asked.

    Args:
        model: String, the model's name at the server.
        version: Integer, one of its versions. The server's choice, the largest, if neither this nor a label is given.
        label: String, a name of a version in the server's configuration.
        signature: One of `SIGNATURES`. Both give the same answers: `image_bytes` through the Predict API, `classify`
            through the Classify API.
    """

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = SIGNATURES[0]

    def __post_init__(self):
        if not self.model:
            raise ValueError("`model` must be the name of a model at the server. Received an empty one.")
        if self.version is not None and self.label is not None:
            raise ValueError(
                f"Give a version or a label, not both. Received: version={self.version}, label={self.label!r}."
            )
        if self.signature not in SIGNATURES:
            raise ValueError(f"`signature` must be one of {', '.join(SIGNATURES)}. Received: {self.signature!r}.")


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait.

    Args:
        timeout: Seconds for an answer. With gRPC it includes retries and the pauses between them.
        retries: How often a request is sent again if the server was not there or too busy. At most 4, as gRPC has it.
    """

    timeout: float = 30.0
    retries: int = 3

    def __post_init__(self):
        if not self.timeout > 0:
            raise ValueError(f"`timeout` must be positive. Received: {self.timeout}.")
        if not 0 <= self.retries <= 4:
            raise ValueError(f"`retries` must be from 0 to 4. Received: {self.retries}.")
