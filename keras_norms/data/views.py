"""Views of images: what the network is shown of them, normalized.

An image lies on a canvas: one that is stored at the network's size is padded by an eighth of it, by 4 pixels at 32 (He
et al., 2015), with zeros after normalization; others are resized so that the shorter side is an eighth longer than the
network's, 144 for 128 pixels (Mishkin et al., 2017). A view is a window of the canvas.
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
        images = _canvas(images, self.prepare)
        room = tf.shape(images)[1:3] - self.prepare.size
        corners = chances[:, :2] * tf.cast(room + 1, tf.float32) if self.crop else tf.cast(room[None] // 2, tf.float32)
        corners = tf.minimum(tf.cast(corners, tf.int32), room)
        return _windows(images, corners, (chances[:, 2] < 0.5) & self.flip, self.prepare.size)


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
        images = _canvas(images, self.prepare)
        corners = (tf.shape(images)[1:3] - self.prepare.size)[None] // 2
        return _windows(images, corners, tf.constant([False]), self.prepare.size)


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
        images = _canvas(images, self.prepare)
        bottom, right = tf.unstack(tf.shape(images)[1:3] - self.prepare.size)
        corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
        windows = [
            _windows(images, tf.stack(corner)[None], tf.constant([mirrored]), self.prepare.size)
            for mirrored in (False, True)
            for corner in corners
        ]
        return tf.stack(windows, axis=1)


def _canvas(images, prepare):
    """Returns the images, normalized, with the room around a view that the module's text tells of."""
    if images.shape[1:3].as_list() != [prepare.size] * 2:
        return prepare(_resized(images, prepare))
    margins = [prepare.margin, prepare.margin]
    return tf.pad(prepare(images), [[0, 0], margins, margins, [0, 0]])


def _resized(images, prepare):
    sides = tf.cast(tf.shape(images)[1:3], tf.float32)
    wanted = tf.round(sides * (prepare.size + prepare.margin) / tf.reduce_min(sides))
    return tf.image.resize(images, tf.cast(wanted, tf.int32), antialias=True)


def _windows(images, corners, mirrored, size):
    """Returns a window of each image, two gathers for a batch; corners and mirrored broadcast over it."""
    count = tf.shape(images)[0]
    steps = tf.range(size)
    rows = tf.broadcast_to(corners[:, :1] + steps, (count, size))
    columns = tf.broadcast_to(corners[:, 1:] + tf.where(mirrored[:, None], steps[::-1], steps), (count, size))
    images = tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    return tf.ensure_shape(images, (None, size, size, images.shape[-1]))
