"""What a version answers to pixels, files and examples, hostile files included."""

import io

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from keras_norms import export
from keras_norms.data import pipeline, views

SIZE = 16


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """The folder of a version that takes 16 x 16 colours, of seven classes."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(7)(x))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape))
    pixels, folder = rng.uniform(0, 255, (4, SIZE, SIZE, 3)), tmp_path_factory.mktemp("m")
    return export.export(model, folder, "m", list("abcdefg"), lambda p: (p - 127.0) / 50.0, pixels)


@pytest.fixture(scope="module")
def signatures(square):
    return tf.saved_model.load(square).signatures


def answers(signature, **inputs):
    return {key: value.numpy() for key, value in signature(**inputs).items()}


def of_pixels(signatures, pixels):
    return answers(signatures["serving_default"], image=tf.constant(pixels, tf.float32))


def of_files(signatures, *files):
    return answers(signatures["image_bytes"], image_bytes=tf.constant(files, tf.string))


def file(image, form="PNG", **options):
    """Returns the bytes of an image file of an array or a PIL image."""
    image = image if isinstance(image, PIL.Image.Image) else PIL.Image.fromarray(image)
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def random_image(*shape):
    return np.random.default_rng(2).integers(0, 256, shape, "uint8")


def example(content, key="image/encoded"):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    return tf.train.Example(features=tf.train.Features(feature={key: feature})).SerializeToString()


def check_equal(one, other):
    np.testing.assert_allclose(one["probabilities"], other["probabilities"], rtol=1e-5, atol=1e-7)
    for key in ("class_id", "class_name", "top_5"):
        np.testing.assert_array_equal(one[key], other[key])


def test_tensors_are_named_and_the_batch_is_open(version):
    signatures = tf.saved_model.load(version).signatures
    answers = {
        "probabilities": tf.TensorSpec((None, 3), "float32", name="probabilities"),
        "class_id": tf.TensorSpec((None,), "int64", name="class_id"),
        "class_name": tf.TensorSpec((None,), "string", name="class_name"),
        "top_5": tf.TensorSpec((None, 3), "string", name="top_5"),
    }
    listed = {
        "classes": tf.TensorSpec((None, 3), "string", name="classes"),
        "scores": tf.TensorSpec((None, 3), "float32", name="scores"),
    }
    expected = {
        "serving_default": ({"image": tf.TensorSpec((None, 8, 9, 3), "float32", name="image")}, answers),
        "image_bytes": ({"image_bytes": tf.TensorSpec((None,), "string", name="image_bytes")}, answers),
        "classify": ({"inputs": tf.TensorSpec((None,), "string", name="inputs")}, listed),
    }
    assert signatures.keys() == expected.keys()
    for name, (inputs, outputs) in expected.items():
        assert signatures[name].structured_input_signature[1] == inputs
        assert signatures[name].structured_outputs == outputs


def test_names_are_those_of_the_largest_probabilities(signatures):
    served = of_pixels(signatures, 255 * np.random.default_rng(3).uniform(size=(9, SIZE, SIZE, 3)))
    order = np.argsort(-served["probabilities"], -1)
    assert len(set(order[:, 0])) > 1
    np.testing.assert_array_equal(served["class_id"], order[:, 0])
    np.testing.assert_array_equal(served["top_5"], np.array([b"a", b"b", b"c", b"d", b"e", b"f", b"g"])[order[:, :5]])
    np.testing.assert_array_equal(served["class_name"], served["top_5"][:, 0])


def test_examples_get_classes_and_scores(signatures):
    files = [file(random_image(SIZE, SIZE, 3)), file(random_image(30, 20, 3))]
    expected = of_files(signatures, *files)
    served = answers(signatures["classify"], inputs=tf.constant([example(content) for content in files]))
    np.testing.assert_array_equal(served["classes"], expected["top_5"])
    np.testing.assert_allclose(served["scores"], -np.sort(-expected["probabilities"])[:, :5], rtol=1e-6)


def test_example_without_an_image_is_refused(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="image/encoded"):
        signatures["classify"](inputs=tf.constant([example(file(random_image(4, 4, 3)), key="image")]))


def test_strict_servers_find_the_method_of_classify(square):
    meta_graph = tf.compat.v1.saved_model.load(tf.compat.v1.Session(graph=tf.Graph()), ["serve"], str(square))
    methods = {name: signature.method_name for name, signature in meta_graph.signature_def.items()}
    assert methods["classify"] == "tensorflow/serving/classify"
    assert methods["serving_default"] == methods["image_bytes"] == "tensorflow/serving/predict"


def test_file_of_the_networks_size_is_taken_as_it_is(signatures):
    image = random_image(SIZE, SIZE, 3)
    check_equal(of_files(signatures, file(image)), of_pixels(signatures, image[None]))


@pytest.mark.parametrize("shape", [(40, 40), (33, 90), (70, 21), (5, 9), (17, 16)])
def test_file_of_another_size_is_shown_as_test_images_are(shape, signatures):
    image = random_image(*shape, 3)
    plain = pipeline.Preprocessing(SIZE, (0.0,) * 3, (1.0,) * 3)
    shown = views.Centre(plain)(tf.constant(image[None]), None)
    check_equal(of_files(signatures, file(image)), of_pixels(signatures, shown))


def test_no_file_gets_no_answer(signatures):
    assert of_files(signatures)["probabilities"].shape == (0, 7)
    assert of_files(signatures)["top_5"].shape == (0, 5)


GREY = random_image(SIZE, SIZE)
HOSTILE = {
    "grey PNG": (file(GREY), np.repeat(GREY[..., None], 3, -1)),
    "PNG with opacity": (file(random_image(SIZE, SIZE, 4)), random_image(SIZE, SIZE, 4)[..., :3]),
    "16 bit": (file(PIL.Image.fromarray(GREY.astype("uint16") * 257)), np.repeat(GREY[..., None], 3, -1)),
    "animation": (
        file(PIL.Image.fromarray(GREY), "GIF", save_all=True, append_images=[PIL.Image.fromarray(GREY.T)]),
        np.repeat(GREY[..., None], 3, -1),
    ),
    "BMP": (file(random_image(SIZE, SIZE, 3), "BMP"), random_image(SIZE, SIZE, 3)),
    "palette": (file(PIL.Image.fromarray(GREY // 85 * 85).convert("P")), np.repeat(GREY[..., None] // 85 * 85, 3, -1)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_unusual_files_are_understood(kind, signatures):
    content, pixels = HOSTILE[kind]
    check_equal(of_files(signatures, content), of_pixels(signatures, pixels[None]))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_of_any_colours(mode, signatures):
    image = PIL.Image.new("RGB", (SIZE, SIZE), (200, 60, 30)).convert(mode)
    pixels = np.asarray(image.convert("RGB"))
    served = of_files(signatures, file(image, "JPEG", quality=95))
    # A JPEG of one colour is off by a few units.
    np.testing.assert_allclose(served["probabilities"], of_pixels(signatures, pixels[None])["probabilities"], atol=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (20000, 1), (1, 20000)])
def test_images_that_are_hardly_any(shape, signatures):
    served = of_files(signatures, file(np.full((*shape, 3), 77, "uint8")))
    check_equal(served, of_pixels(signatures, np.full((1, SIZE, SIZE, 3), 77)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no image", "Unknown image file format"),
        (b"\xff\xd8\xff\xe0 no image", "JPEG"),
        (file(random_image(40, 40, 3))[:-200], "PNG"),
        (file(random_image(40, 40, 3), "JPEG")[:400], "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason_and_fails_its_batch(content, reason, signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        of_files(signatures, file(random_image(SIZE, SIZE, 3)), content)


def test_grey_network_takes_coloured_files(tmp_path):
    inputs = keras.Input((SIZE, SIZE, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 1))
    version = export.export(model, tmp_path, "grey", ["a", "b"], lambda p: p / 255, pixels)
    signatures = tf.saved_model.load(version).signatures
    coloured = np.repeat(GREY[..., None], 3, -1)
    check_equal(of_files(signatures, file(coloured)), of_pixels(signatures, GREY[None, ..., None]))


def test_images_that_no_file_has_are_served_as_pixels_alone(tmp_path):
    inputs = keras.Input((4, 4, 6))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 6))
    version = export.export(model, tmp_path, "bands", ["a", "b"], lambda p: p / 255, pixels)
    assert list(tf.saved_model.load(version).signatures) == ["serving_default"]


def test_image_gets_the_same_alone_and_in_a_batch_that_is_filled_up(version, pixels):
    serve = tf.saved_model.load(version).signatures["serving_default"]
    filled = np.concatenate([pixels[:1], np.zeros((31, 8, 9, 3))]).astype("float32")
    alone, among = (serve(image=tf.constant(x))["probabilities"][0].numpy() for x in (filled[:1], filled))
    np.testing.assert_allclose(alone, among, rtol=1e-5)
