"""Image files, looked at before they are sent: a server that batches fails all requests of a batch for one of them."""

import pathlib

# What TensorFlow decodes; WebP and JPEG XL in new servers only.
_STARTS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "WebP": (b"RIFF",),
    "JPEG XL": (b"\xff\x0a", b"\x00\x00\x00\x0cJXL "),
}


def read(path):
    """Returns the bytes of an image file.

    Raises:
        ValueError: It is empty, or does not start as an image does.
        OSError: It cannot be read.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError("This is a folder, not an image file.")
    if not path.exists():
        raise FileNotFoundError("There is no such file.")
    if not path.is_file():
        raise OSError("This is not a regular file.")
    content = path.read_bytes()
    if not content:
        raise ValueError("The file is empty.")
    starts = tuple(start for starts in _STARTS.values() for start in starts)
    if not content.startswith(starts):
        raise ValueError(f"The file is not an image: it starts as none of {', '.join(_STARTS)} does.")
    return content
