"""Exports a run, or a .keras file, as a SavedModel for TensorFlow Serving, checked before it is moved into place.

    python drivers/export.py --run runs/resnet20-cifar10-batch_norm_before/0 --data_dir ~/tensorflow_datasets
    python drivers/export.py --run ... --statistics recomputed --format onnx,litert
    python drivers/export.py --model my.keras --class_names names.txt --images 'photos/*.jpg' --deviation 255

Normalizations are folded into the layers beside them. Of a run the newest checkpoint is taken: nothing in its folder
is written. docs/serving.md says what is in a version, and how to serve it. Errors with their place: --verbosity=1.
"""

import os
import pathlib

import environment  # noqa: F401  # first: it sets what TensorFlow reads at its import
import exported_models
import reporting
from absl import app, flags

from keras_norms import export

flags.DEFINE_string("run", None, "folder of a run")
flags.DEFINE_string("model", None, ".keras file of a functional or sequential model, in place of --run")
flags.DEFINE_string("data_dir", None, "folder of TensorFlow Datasets; ~/tensorflow_datasets if not given")
flags.DEFINE_enum("statistics", "moving", exported_models.STATISTICS, "what batch norm normalizes with")
flags.DEFINE_integer("batches", 100, "training batches that --statistics=recomputed looks at")
flags.DEFINE_string("class_names", None, "file with the names of the classes of --model, one a line")
flags.DEFINE_string("images", None, "pattern of two or more image files, with which --model is checked")
flags.DEFINE_list("mean", "0", "what --model wants subtracted from pixels from 0 to 255, for all channels or each")
flags.DEFINE_list("deviation", "1", "what --model wants them divided by after that")
flags.DEFINE_enum("outputs", "logits", export.OUTPUTS, "what --model returns")
flags.DEFINE_boolean("allow_code", False, "run the code of Lambda layers in --model")
flags.DEFINE_list("format", [], f"further formats: {', '.join(export.FORMATS)}")
flags.DEFINE_string("export_dir", "saved_models", "folder of the SavedModels")
flags.DEFINE_string("export_name", None, "name of the SavedModel; that of the recipe or file if not given")


def main(argv):
    with reporting.reported("export.py", argv):
        given = flags.FLAGS
        export.check_formats(given.format)
        if (given.run is None) == (given.model is None):
            raise ValueError("Give one of --run and --model.")
        source = exported_models.of_run(given) if given.model is None else exported_models.of_keras_file(given)
        place = os.path.abspath(given.export_dir), given.export_name or source.name
        version = export.exported(*place, source.origin) or export.export(
            source.model, *place, source.class_names, source.preprocess, source.pixels, source.origin
        )
        files = [export.convert(pathlib.Path(version), name) for name in given.format]
        print("\n".join(["", *source.told, f"SavedModel: {version}", *map(str, files), ""]))
        print(export.query_example(version))


if __name__ == "__main__":
    app.run(main)
