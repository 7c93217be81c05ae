"""The files of docs/serving: what the server reads is valid, and all of them speak of the same things."""

import pathlib
import re

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from keras_norms.export import batching

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "serving"
PAGES = [FOLDER.parent / "serving.md", FOLDER.parents[1] / "saved_models" / "README.md"]
# tensorflow_serving/model_servers/main.cc
SERVER_FLAGS = {
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "enable_batching",
    "enable_per_model_batching_parameters",
    "batching_parameters_file",
    "monitoring_config_file",
}


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.fixture
def model():
    text = (FOLDER / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


@pytest.fixture
def compose():
    return documents("compose.yaml")[0]["services"]


@pytest.fixture
def deployment():
    (found,) = (document for document in documents("kubernetes.yaml") if document["kind"] == "Deployment")
    return found


@pytest.fixture
def container(deployment):
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return found


def test_labels_point_to_versions_that_are_served(model):
    assert model.model_platform == "tensorflow"
    assert model.base_path == f"/models/{model.name}"
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)


def parameters(text):
    """Returns the pairs of names and numbers of a `BatchingParameters` text, by the lines it is written in."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"(\w+)(?:: (\d+)| \{ value: (\d+) \})", line).groups() for line in lines]
    return [(name, int(plain or wrapped)) for name, plain, wrapped in found]


def test_batches_have_sizes_that_the_server_accepts(tmp_path):
    found = parameters((FOLDER / "batching.pbtxt").read_text())
    sizes = [value for name, value in found if name == "allowed_batch_sizes"]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == dict(found)["max_batch_size"]
    batching.write(tmp_path)
    assert found == parameters((tmp_path / batching.FILE).read_text())


def test_compose_and_kubernetes_start_the_same_server(compose, container):
    assert compose["serving"]["image"] == container["image"]
    assert compose["serving"]["command"] == container["args"]
    flags = dict(argument.removeprefix("--").split("=") for argument in container["args"])
    assert set(flags) == SERVER_FLAGS
    for name, value in flags.items():
        if name.endswith("_file"):
            assert value.startswith("/config/")
            assert (FOLDER / value.removeprefix("/config/")).is_file()


def test_folders_are_where_the_server_looks(compose, container, deployment):
    for service in compose.values():
        for volume in service["volumes"]:
            source, target, mode = volume.split(":")
            assert (FOLDER / source).is_dir()
            assert mode == "ro"
            assert target in ("/models", "/config")
    assert (FOLDER / compose["serving"]["volumes"][0].split(":")[0]).resolve() == FOLDER.parents[1] / "saved_models"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"config": "/config", "models": "/models"}
    assert {volume["name"] for volume in deployment["spec"]["template"]["spec"]["volumes"]} == set(mounts)


def test_ports(compose, container):
    published = {entry.split(":")[-1]: entry for entry in compose["serving"]["ports"]}
    assert set(published) == {"8500", "8501"}
    for entry in published.values():
        host, outside, inside = entry.split(":")
        assert (host, outside) == ("127.0.0.1", inside)  # nobody is asked who they are
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert named == {"grpc": 8500, "rest": 8501}
    (service,) = (document for document in documents("kubernetes.yaml") if document["kind"] == "Service")
    assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == named


def test_selectors(deployment):
    (service,) = (document for document in documents("kubernetes.yaml") if document["kind"] == "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels


def test_probes_ask_for_the_stable_version(model, compose, container):
    path = f"/v1/models/{model.name}/labels/stable/metadata"
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": path, "port": "rest"}
    assert f"GET {path} HTTP/1.0" in compose["serving"]["healthcheck"]["test"][-1]


def test_metrics_are_looked_for_where_they_are(compose, deployment):
    (path,) = re.fullmatch(
        r'prometheus_config \{ enable: true path: "(\S+)" \}\n', (FOLDER / "monitoring.config").read_text()
    ).groups()
    (job,) = documents("prometheus.yaml")[0]["scrape_configs"]
    assert job["metrics_path"] == path
    assert job["static_configs"] == [{"targets": ["serving:8501"]}]
    assert (
        f"--config.file={compose['prometheus']['volumes'][0].split(':')[1]}/prometheus.yaml"
        in (compose["prometheus"]["command"])
    )
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == path
    assert annotations["prometheus.io/port"] == "8501"


def test_pages_name_the_image_and_every_file(compose):
    for page in PAGES:
        assert set(re.findall(r"tensorflow/serving:\S+", page.read_text())) == {compose["serving"]["image"]}
    for path in FOLDER.iterdir():
        assert f"serving/{path.name}" in PAGES[0].read_text()
    created = set(re.findall(r"--from-file=(\S+)", PAGES[0].read_text()))
    assert created == {"models.config", "batching.pbtxt", "monitoring.config"}
