import keras
import numpy as np
import pytest

from keras_norms import export


def classifier(activation=None, size=8):
    inputs = keras.Input((size, size, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(4, activation=activation)(x))


@pytest.fixture
def saved(tmp_path):
    """Returns a function of a model to the path of its file."""

    def save(model):
        model.save(tmp_path / "model.keras")
        return tmp_path / "model.keras"

    return save


IMAGES = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")


def test_logits_come_as_they_are(saved):
    model = classifier()
    np.testing.assert_array_equal(export.load(saved(model))(IMAGES), model(IMAGES))


def test_probabilities_become_logits(saved):
    model = classifier("softmax")
    logits = export.load(saved(model), outputs="probabilities")(IMAGES)
    np.testing.assert_allclose(keras.ops.softmax(logits), model(IMAGES), rtol=1e-5)


def test_probability_of_zero_stays_finite(saved):
    model = classifier("softmax")
    model.layers[-1].bias.assign([0.0, 500.0, 0.0, 0.0])
    logits = export.load(saved(model), outputs="probabilities")(IMAGES)
    assert np.isfinite(np.asarray(logits)).all()
    np.testing.assert_allclose(keras.ops.softmax(logits)[:, 1], 1.0)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: classifier("softmax"), "outputs=probabilities"),
        (lambda: classifier("sigmoid"), "outputs=probabilities"),
        (lambda: keras.Sequential([classifier(), keras.layers.Softmax()]), "outputs=probabilities"),
        (lambda: classifier(size=None), "must have a size"),
        (lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), "one input of images"),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x[:, 0, 0])]),
            "holds code.*--allow_code",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused(model, words, saved):
    with pytest.raises(ValueError, match=words):
        export.load(saved(model()))


def test_code_is_run_when_it_is_told_to(saved):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x[:, 0, 0])])
    np.testing.assert_array_equal(export.load(saved(model), allow_code=True)(IMAGES), IMAGES[:, 0, 0])


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "text"])
def test_damaged_file_is_refused(harm, saved):
    path = saved(classifier())
    content = path.read_bytes()
    start = content.find(b"model.weights.h5") + 2000
    flipped = bytearray(content)
    flipped[start : start + 400] = bytes(400)
    path.write_bytes({"cut": content[: len(content) // 2], "flipped": bytes(flipped), "empty": b"", "text": b"x"}[harm])
    with pytest.raises(ValueError, match=r"model\.keras.*(damaged|cannot be loaded)"):
        export.load(path)


def test_missing_file_and_unknown_outputs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export.load(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="`outputs` must be one of"):
        export.load(tmp_path / "none.keras", outputs="scores")
