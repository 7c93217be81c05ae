"""Views of images: what the network is shown of them, normalized.

An image lies on a canvas: one that is stored at the network's size is padded by a margin, with zeros after
normalization; others are resized so that the shorter side is longer than the network's by the margin. Unless chosen it
is an eighth of the size: 4 pixels at 32 (He et al., 2015), 16 at 128 (Mishkin et al., 2017). A view is a window of the
canvas.
"""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Random:
    """A window at a random place, half of them mirrored.

    Attributes:
        prepare: `pipeline.Preprocessing`.
        crop, flip: Booleans, whether the place is random or the centre, and whether some are mirrored.
    """

    prepare: object
    crop: bool = True
    flip: bool = True

    @property
    def shape(self):
        """The shape of what is seen of an image, without the channels."""
        return (self.prepare.size,) * 2

    def __call__(self, images, chances):
        """Returns one view of each image.

        Args:
            images: uint8 tensor of shape `(rows, height, width, channels)`.
            chances: float32 tensor of shape `(rows, 3)`, uniform from 0 to 1.

        Returns:
            float32 tensor of shape `(rows, *shape, channels)`.
        """
        images, margin = _laid_out(images, self.prepare)
        room = _room(images, margin, self.prepare)
        corners = chances[:, :2] * tf.cast(room + 1, tf.float32) if self.crop else tf.cast(room[None] // 2, tf.float32)
        corners = tf.minimum(tf.cast(corners, tf.int32), room)
        return _windows(images, margin, corners, (chances[:, 2] < 0.5) & self.flip, self.prepare)


@dataclasses.dataclass(frozen=True)
class Centre:
    """The window in the middle.

    Attributes:
        prepare: `pipeline.Preprocessing`.
    """

    prepare: object

    @property
    def shape(self):
        return (self.prepare.size,) * 2

    def __call__(self, images, chances):
        images, margin = _laid_out(images, self.prepare)
        corners = _room(images, margin, self.prepare)[None] // 2
        return _windows(images, margin, corners, tf.constant([False]), self.prepare)


@dataclasses.dataclass(frozen=True)
class TenCrops:
    """The windows in the four corners and in the middle, and the mirror image of each, in this order.

    Attributes:
        prepare: `pipeline.Preprocessing`.
    """

    prepare: object

    @property
    def shape(self):
        return 10, self.prepare.size, self.prepare.size

    def __call__(self, images, chances):
        images, margin = _laid_out(images, self.prepare)
        bottom, right = tf.unstack(_room(images, margin, self.prepare))
        corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
        windows = [
            _windows(images, margin, tf.stack(corner)[None], tf.constant([mirrored]), self.prepare)
            for mirrored in (False, True)
            for corner in corners
        ]
        return tf.stack(windows, axis=1)


def _laid_out(images, prepare):
    """Returns the images as they lie on the canvas, and the width of the margin around them: what the text above says.

    Pixels are normalized last: there are fewest of them then, and bytes until then where nothing is resized.
    """
    if images.shape[1:3].as_list() == [prepare.size] * 2:
        return images, prepare.margin
    return _resized(images, prepare), 0


def _room(images, margin, prepare):
    """Returns how many places there are for the window's corner, down and along, less one."""
    return tf.shape(images)[1:3] + 2 * margin - prepare.size


def _resized(images, prepare):
    sides = tf.cast(tf.shape(images)[1:3], tf.float32)
    wanted = tf.round(sides * (prepare.size + prepare.margin) / tf.reduce_min(sides))
    return tf.image.resize(images, tf.cast(wanted, tf.int32), antialias=True)


def _windows(images, margin, corners, mirrored, prepare):
    """Returns a window of each image, two gathers for a batch; corners and mirrored broadcast over it."""
    count, size, channels = tf.shape(images)[0], prepare.size, images.shape[-1]
    steps = tf.range(size)
    rows = tf.broadcast_to(corners[:, :1] + steps - margin, (count, size))
    columns = corners[:, 1:] + tf.where(mirrored[:, None], steps[::-1], steps) - margin
    columns = tf.broadcast_to(columns, (count, size))
    (rows, row_exists), (columns, column_exists) = (
        _nearest(places, side) for places, side in zip((rows, columns), tf.unstack(tf.shape(images)[1:3]), strict=True)
    )
    images = tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    images = tf.reshape(_normalized(images, prepare), (count, size, size * channels))
    if margin:
        exists = row_exists[:, :, None] & tf.repeat(column_exists, channels, axis=1)[:, None]
        images = tf.where(exists, images, 0.0)
    return tf.reshape(images, (-1, size, size, channels))


def _nearest(places, side):
    """Returns the places on an image nearest to some that may lie beside it, and whether they lie on it."""
    return tf.clip_by_value(places, 0, side - 1), (places >= 0) & (places < side)


def _normalized(images, prepare):
    """Returns `prepare(images)`, a whole row at once: three numbers at a time take TensorFlow twice as long."""
    width, channels = images.shape[-2:]
    whole_rows = dataclasses.replace(prepare, mean=prepare.mean * width, deviation=prepare.deviation * width)
    return whole_rows(tf.reshape(images, (-1, width * channels)))
