"""Safe loading of untrusted images: few formats, bounded memory, one-line errors. Needs the extra `images`."""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO, Union

import numpy as np

from mnist_cnn.errors import InputError

try:
    from PIL import Image, UnidentifiedImageError
except ImportError as error:
    raise ImportError("reading images needs Pillow: pip install '.[images]'") from error

ImageSource = Union[str, Path, BinaryIO, Image.Image]

# Whitelist of Pillow's decoders: each further one would be more code that parses untrusted files.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
# With these limits, a process with TensorFlow 2 (0.7 GB) stays below 1 GB on the worst file of each format.
MAX_BYTES = 2**26
MAX_PIXELS = 14 * 10**6
MAX_JPEG_PIXELS = 28 * 10**6  # higher, because large JPEGs are decoded at reduced resolution
MAX_SIDE = 1024  # pixels; larger images are reduced to this size

_EXIF_ORIENTATION = 0x0112
_TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: ImageSource) -> Image.Image:
    """Loads the first frame of an image as RGB, upright, with at most MAX_SIDE pixels a side.

    Transparent pixels get the mean colour of the border. If the border is transparent too, they get white or black,
    whichever differs more from the mean colour of the opaque pixels.

    Args:
      source: a file name, a seekable binary file, or a PIL image, which is not modified.

    Returns:
      A PIL image of mode RGB.

    Raises:
      InputError: the image cannot be read, is damaged, is in none of FORMATS, has more than MAX_BYTES or MAX_PIXELS
        (MAX_JPEG_PIXELS), or has floating-point or 32-bit pixels.
    """
    name = get_display_name(source)
    try:
        if isinstance(source, Image.Image):
            return _load_upright(source)
        if isinstance(source, (str, Path)):
            if Path(source).exists() and not Path(source).is_file():
                raise InputError("is not a file")
            with open(str(source), "rb") as file:
                return _read_file(file)
        return _read_file(source)
    except InputError as error:
        raise InputError(f"{name} {error}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is in none of the supported formats ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} has more than {MAX_PIXELS:,} pixels: reduce its size") from error
    except Exception as error:  # Pillow's decoders raise many exception types for damaged files
        system_error = getattr(error, "strerror", None)
        if system_error:
            raise InputError(f"{name} cannot be read: {system_error}") from error
        reason = " ".join(str(error).split())[:99] or type(error).__name__
        raise InputError(f"{name} is damaged, or of a variant that cannot be read ({reason})") from error


def get_display_name(source: ImageSource) -> str:
    """Returns the display name of an image for error messages: its file name, or "the image"."""
    return str(source) if isinstance(source, (str, Path)) else str(getattr(source, "filename", "") or "the image")


def draw_preview(source: ImageSource, digit: np.ndarray) -> Image.Image:
    """Draws an image and, to its right, the network's input, each scaled to 280 pixels.

    Args:
      source: as for `read_image`.
      digit: float32 [28, 28] in [0, 1], as returned by `preprocessing.prepare`.

    Returns:
      A PIL image of mode RGB and size 580 x 280.
    """
    preview = Image.new("RGB", (2 * 280 + 20, 280), "gray")
    left = read_image(source)
    scale = 280 / max(left.size)
    left = left.resize([max(1, round(length * scale)) for length in left.size])
    preview.paste(left, ((280 - left.width) // 2, (280 - left.height) // 2))
    right = Image.fromarray((digit * 255).round().astype(np.uint8))
    preview.paste(right.resize((280, 280), Image.Resampling.NEAREST), (300, 0))
    return preview


def _read_file(file: BinaryIO) -> Image.Image:
    if file.seek(0, os.SEEK_END) > MAX_BYTES:
        raise InputError(f"has more than {MAX_BYTES:,} bytes: reduce its size")
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
        _check_size(image)  # before draft(), which changes the size
        image.draft("RGB", (MAX_SIDE, MAX_SIDE))
        return _load_upright(image)


def _check_size(image: Image.Image) -> None:
    # The size of a file is read from its header: no pixels are decoded yet.
    limit = MAX_JPEG_PIXELS if image.format in ("JPEG", "MPO") else MAX_PIXELS
    if image.width * image.height > limit:
        raise InputError(f"has {image.width:,} x {image.height:,} pixels, more than {limit:,}: reduce its size")
    if image.width * image.height == 0:
        raise InputError("has no pixels")


def _load_upright(image: Image.Image) -> Image.Image:
    _check_size(image)
    image.load()
    rgb = _convert_to_rgb(image)
    if image.format == "TIFF":  # Pillow has already applied the orientation
        return rgb
    with contextlib.suppress(Exception):  # no valid EXIF orientation: leave unrotated
        rgb = rgb.transpose(_TRANSPOSE_BY_ORIENTATION[image.getexif()[_EXIF_ORIENTATION]])
    return rgb


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    """Returns a copy of a decoded image in mode RGB, reduced to MAX_SIDE."""
    if image.mode == "F":
        raise InputError("has floating-point pixels: save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise InputError("has 32-bit pixels: save it with 8 or 16 bits per channel")
        image = Image.fromarray((levels // 257).astype(np.uint8))
    if image.mode in ("L", "RGB", "RGBA", "CMYK") and "transparency" not in image.info:
        image = _reduce(image)  # before the conversion, whose copy then needs less memory
    has_alpha = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
    image = _reduce(image.convert("RGBA" if has_alpha else "RGB"))
    return _composite_alpha(image) if has_alpha else image


def _reduce(image: Image.Image) -> Image.Image:
    scale = max(image.size) / MAX_SIDE
    if scale <= 1:
        return image
    size = max(1, round(image.width / scale)), max(1, round(image.height / scale))
    return image.resize(size, Image.Resampling.BOX)


def _composite_alpha(rgba: Image.Image) -> Image.Image:
    """Composites an RGBA image onto a background of one colour, which `read_image` describes."""
    pixels = np.asarray(rgba, np.float32)
    colours, alpha = pixels[..., :3], pixels[..., 3:] / 255
    border = np.ones(alpha.shape, bool)
    border[1:-1, 1:-1] = False
    border_is_opaque = np.median(alpha[border]) > 0.5
    weights = alpha * border if border_is_opaque else alpha
    mean = (colours * weights).sum(axis=(0, 1)) / max(weights.sum(), 1e-6)
    background = mean if border_is_opaque else 255.0 * (mean.mean() < 127.5)
    return Image.fromarray((colours * alpha + background * (1 - alpha)).round().astype(np.uint8))
