"""Picture files that nobody vouches for, read in bounded memory. Needs the extra `images`."""

import contextlib
import os
from pathlib import Path

import numpy as np

from mnist_cnn.errors import InputError

try:
    from PIL import Image, UnidentifiedImageError
except ImportError as error:
    raise ImportError("to read pictures, pip install '.[images]'") from error

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")  # each other decoder would be one more to trust
# With these, TensorFlow 2 (0.7 GB) and the worst file of each format stay below 1 GB.
MAX_BYTES = 2**26
MAX_PIXELS = 14 * 10**6
MAX_JPEG_PIXELS = 28 * 10**6  # decoded at a fraction of its size
SIDE = 1024  # what is larger is reduced to it

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source):
    """The first frame of a picture, upright, as a PIL image of mode RGB with at most 1024 pixels a side.

    What is transparent gets the colour of the picture's border, or where that is transparent too, white or black,
    whichever differs more from what is drawn.

    Args:
      source: a file's name, a binary seekable file, or a PIL image, which stays as it is.

    Raises:
      InputError: it cannot be read, is damaged, none of FORMATS, over MAX_BYTES or MAX_PIXELS, or has pixels of 32 bits.
    """
    name = display_name(source)
    try:
        if isinstance(source, Image.Image):
            return _upright(source)
        if isinstance(source, (str, Path)):
            if Path(source).exists() and not Path(source).is_file():
                raise InputError("is not a file")
            with open(str(source), "rb") as file:
                return _read(file)
        return _read(source)
    except InputError as error:
        raise InputError(f"{name} {error}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a picture of the kinds {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} has over {MAX_PIXELS:,} pixels: reduce it") from error
    except Exception as error:  # on damaged files decoders raise whatever comes to them
        if getattr(error, "strerror", None):
            raise InputError(f"{name} cannot be read: {error.strerror}") from error
        reason = " ".join(str(error).split())[:99] or type(error).__name__
        raise InputError(f"{name} is damaged, or of a kind that cannot be read ({reason})") from error


def display_name(source):
    """What messages call it."""
    return str(source) if isinstance(source, (str, Path)) else str(getattr(source, "filename", "") or "the picture")


def _read(file):
    if file.seek(0, os.SEEK_END) > MAX_BYTES:
        raise InputError(f"has over {MAX_BYTES:,} bytes: reduce it")
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
        _check_size(image)  # draft changes it
        image.draft("RGB", (SIDE, SIDE))
        return _upright(image)


def _check_size(image):
    most = MAX_JPEG_PIXELS if image.format in ("JPEG", "MPO") else MAX_PIXELS
    if image.width * image.height > most:  # as the header says: nothing is decoded yet
        raise InputError(f"has {image.width:,} x {image.height:,} pixels, over {most:,}: reduce it")
    if image.width * image.height == 0:
        raise InputError("has no pixels")


def _upright(image):
    _check_size(image)
    image.load()
    rgb = _as_rgb(image)
    if image.format == "TIFF":  # which Pillow turns itself
        return rgb
    with contextlib.suppress(Exception):  # where its EXIF is damaged or says nothing, it stays as it lies
        rgb = rgb.transpose(_UPRIGHT[image.getexif()[_EXIF_ORIENTATION]])
    return rgb


def _as_rgb(image):
    """A copy of a decoded image: RGB, reduced to SIDE."""
    if image.mode == "F":
        raise InputError("has floating-point pixels: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        if not 0 <= image.getextrema()[0] <= image.getextrema()[1] <= 65535:
            raise InputError("has pixels of 32 bits: save it with 8 or 16")
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in ("L", "RGB", "RGBA", "CMYK") and "transparency" not in image.info:
        image = _reduced(image)  # before a copy is made in another mode
    transparent = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
    image = _reduced(image.convert("RGBA" if transparent else "RGB"))
    return _on_a_background(image) if transparent else image


def _reduced(image):
    scale = max(image.size) / SIDE
    if scale <= 1:
        return image
    return image.resize([max(1, round(length / scale)) for length in image.size], Image.Resampling.BOX)


def _on_a_background(rgba):
    pixels = np.asarray(rgba, np.float32)
    colours, alpha = pixels[..., :3], pixels[..., 3:] / 255
    border = np.ones(alpha.shape, bool)
    border[1:-1, 1:-1] = False
    of_border = np.median(alpha[border]) > 0.5
    counted = alpha * border if of_border else alpha
    mean = (colours * counted).sum(axis=(0, 1)) / max(counted.sum(), 1e-6)
    colour = mean if of_border else 255.0 * (mean.mean() < 127.5)
    return Image.fromarray((colours * alpha + colour * (1 - alpha)).round().astype(np.uint8))


def side_by_side(picture, digit):
    """A PIL image that shows a picture as it was read, and beside it what the network saw, each 280 pixels a side.

    Args:
      picture: as for `read_image`.
      digit: float32 [28, 28] in [0, 1].
    """
    both = Image.new("RGB", (2 * 280 + 20, 280), "gray")
    left = read_image(picture)
    scale = 280 / max(left.size)
    left = left.resize([max(1, round(length * scale)) for length in left.size])
    both.paste(left, ((280 - left.width) // 2, (280 - left.height) // 2))
    right = Image.fromarray((digit * 255).round().astype(np.uint8))
    both.paste(right.resize((280, 280), Image.Resampling.NEAREST), (300, 0))
    return both
