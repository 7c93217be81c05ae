"""Loads the sample SavedModel of the tree and scores it on the test images beside it: `make serve-check`.

    python tests/serving/sample.py

It prints a line an image, and returns status 1 unless nine in ten get the class that their file is named after.
"""

import pathlib
import sys

import tensorflow as tf

MODEL = pathlib.Path(__file__).parents[2] / "saved_models" / "resnet20_fashion_mnist"
IMAGES = MODEL.with_name("resnet20_fashion_mnist_images")
_ENOUGH = 0.9


def answers():
    """Returns, by the names of the image files, the class in the name, the class served, and its probability."""
    files = sorted(IMAGES.glob("*.png"))
    serve = tf.saved_model.load(MODEL / "1").signatures["image_bytes"]
    served = serve(image_bytes=tf.constant([file.read_bytes() for file in files]))
    names = [name.decode() for name in served["class_name"].numpy()]
    probabilities = served["probabilities"].numpy().max(-1)
    wanted = [file.stem.partition("_")[2] for file in files]
    return {
        file.name: row
        for file, *row in zip(files, wanted, (_plain(name) for name in names), probabilities, strict=True)
    }


def share_right(found):
    """Returns the part of the answers that are right."""
    return sum(wanted == served for wanted, served, _ in found.values()) / len(found)


def main():
    """Prints the answers and returns the exit status."""
    found = answers()
    for name, (wanted, served, probability) in found.items():
        print(f"{name:24} {served:12} {probability:.3f}{'' if wanted == served else '   wrong'}")
    print(f"{share_right(found):.0%} of {len(found)} images are right.")
    return 0 if share_right(found) >= _ENOUGH else 1


def _plain(name):
    """Returns a name as it is part of a file's: `T-shirt/top` is `t-shirt-top`."""
    return name.lower().replace("/", "-").replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
