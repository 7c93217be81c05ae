"""Small TFRecord files, as TensorFlow Datasets writes them, sound or damaged by hand."""

import tensorflow as tf

from keras_norms.data.records import Records


def record(contents, label):
    """Returns an example as it is stored."""
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[contents])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def png(image):
    return tf.io.encode_png(image).numpy()


def jpeg(image):
    return tf.io.encode_jpeg(image, quality=95).numpy()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in records:
            writer.write(content)


def stored(folder, records, lengths, image_shape, classes, name="train"):
    """Writes records to files of the given lengths. Returns the `Records`."""
    folder.mkdir(parents=True, exist_ok=True)
    left, files = iter(records), []
    for number, length in enumerate(lengths):
        files.append(str(folder / f"{name}.tfrecord-{number:05d}-of-{len(lengths):05d}"))
        write(files[-1], [next(left) for _ in range(length)])
    return Records(tuple(files), tuple(lengths), tuple(image_shape), classes)
