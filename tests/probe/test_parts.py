import keras

import keras_norms
from keras_norms.probe import parts


class Block(keras.layers.Layer):
    """A user's layer with layers inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2, name="dense")
        self.norm = keras_norms.BatchNormBefore("relu", name="norm")

    def call(self, inputs):
        return inputs + self.norm(self.dense(inputs))


class Network(keras.Model):
    def __init__(self):
        super().__init__(name="network")
        self.stem = keras.layers.Dense(2, name="stem")
        self.block = Block(name="block")

    def call(self, inputs):
        return self.block(self.stem(inputs))


def test_layers_of_libraries_are_one_part_each():
    wrapped = keras_norms.WeightNormalization(keras.layers.Dense(2), name="wrapped")
    model = keras.Sequential([keras.Input((2,)), wrapped, keras_norms.BatchNormAfter("relu", name="after")])
    assert [name for name in parts.of(model).values() if not name.startswith("input")] == ["wrapped", "after"]


def test_graphs_are_opened_and_are_no_parts():
    inputs = keras.Input((2,), name="inner_images")
    nested = keras.Model(inputs, keras.layers.ReLU(name="relu")(inputs), name="nested")
    images = keras.Input((2,), name="images")
    model = keras.Model(images, keras.layers.Dense(3, name="dense")(nested(images)))
    assert set(parts.of(model).values()) == {"images", "nested/inner_images", "nested/relu", "dense"}


def test_classes_written_elsewhere_are_parts_and_opened_outer_ones_first():
    names = list(parts.of(Network()).values())
    assert set(names) == {"network", "stem", "block", "block/dense", "block/norm"}
    assert names.index("network") == 0
    assert names.index("block") < names.index("block/dense")


def test_shared_layer_is_one_part():
    shared = keras.layers.Dense(2, name="shared")
    inputs = keras.Input((2,), name="images")
    model = keras.Model(inputs, shared(shared(inputs)))
    assert list(parts.of(model)).count(shared) == 1
