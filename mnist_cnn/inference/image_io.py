"""Safe loading of untrusted images: few formats, bounded memory, one-line errors. Needs the extra `images`."""

import contextlib
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO, Iterator, List, Optional, Tuple, Union

import numpy as np

from mnist_cnn.errors import InputError

try:
    from PIL import Image, ImageDraw, TiffImagePlugin, UnidentifiedImageError
except ImportError as error:
    raise ImportError("reading images needs Pillow: pip install '.[images]'") from error

ImageSource = Union[str, Path, BinaryIO, Image.Image]

# Whitelist of Pillow's decoders: each further one would be more code that parses untrusted files.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
# With these limits, a process stays below 1 GB on the worst file of each format, together with TensorFlow 2 (0.6 GB).
MAX_BYTES = 2**26
MAX_PIXELS = 14 * 10**6
MAX_JPEG_PIXELS = 28 * 10**6  # higher, because large JPEGs are decoded at reduced resolution
# Higher limits for images with 8 bits per channel. An image between the limits is called large. Some kinds of large
# images need too much memory beside TensorFlow: see `find_memory_problem`.
MAX_LARGE_BYTES = 150 * 10**6
MAX_LARGE_PIXELS = 36 * 10**6  # A4 at 600 dpi has 34.8 million
MAX_LARGE_JPEG_PIXELS = 50 * 10**6
MAX_LARGE_METADATA = 2**24  # bytes that are no pixels, in a large image or a file of more than MAX_BYTES
MAX_TIFF_MEMORY = 270 * 10**6  # bytes to decode a TIFF, which depend on its strips or tiles too
MAX_SIDE = 1024  # pixels; larger images are reduced to this size

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG file that contains further images
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
      A PIL image of mode RGB. Its info["scale"] is the length of one of its pixels in pixels of the source. A
        further call of `read_image` with it returns a copy.

    Raises:
      InputError: the image cannot be read, is damaged, is in none of FORMATS, has more bytes or pixels than the limit
        for its kind, or has floating-point or 32-bit pixels.
    """
    name = get_display_name(source)
    try:
        if isinstance(source, Image.Image):
            scale = source.info.get("scale")  # a text, if the image is of a file that has a text of this name
            side = max(source.size) * (scale if isinstance(scale, float) else 1)
            return _make_upright_rgb(*_load_reduced(source), side)
        if not isinstance(source, (str, Path)) and not hasattr(source, "seek"):
            raise InputError(f"is of type {type(source).__name__}: name a file, or pass a binary file or a PIL image")
        with _open_binary(source) as file:
            return _read_file(file)
    except InputError as error:
        raise InputError(f"{name} {error}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is in none of the supported formats ({', '.join(FORMATS)})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # PIL.Image.MAX_IMAGE_PIXELS
        reason = str(error).partition(",")[0]
        raise InputError(f"{name} has too many pixels ({reason}): reduce its size") from error
    except Exception as error:  # Pillow's decoders raise many exception types for damaged files
        system_error = getattr(error, "strerror", None)
        if system_error:
            raise InputError(f"{name} cannot be read: {system_error}") from error
        reason = " ".join(str(error).split())[:99] or type(error).__name__
        raise InputError(f"{name} is damaged, or of a variant that cannot be read ({reason})") from error


def get_display_name(source: ImageSource) -> str:
    """Returns the display name of an image for error messages: its file name, or "the image"."""
    return str(source) if isinstance(source, (str, Path)) else str(getattr(source, "filename", "") or "the image")


def draw_preview(source: ImageSource, inputs: List[np.ndarray], boxes: List[Tuple[int, int, int, int]]) -> Image.Image:
    """Draws an image and, to its right, the network's input for each digit, each scaled to 280 pixels.

    Args:
      source: as for `read_image`.
      inputs: of each digit, float32 [28, 28] in [0, 1], as returned by `preprocessing.prepare`.
      boxes: of each digit, (left, top, right, bottom) in pixels of the source. They are drawn if there are several.

    Returns:
      A PIL image of mode RGB and size (280 + 300 * number of digits) x 280.
    """
    preview = Image.new("RGB", (280 + 300 * len(inputs), 280), "gray")
    left = read_image(source)
    scale = 280 / max(left.size)
    box_scale = scale / left.info["scale"]
    left = left.resize([max(1, round(length * scale)) for length in left.size])
    if len(boxes) > 1:
        draw = ImageDraw.Draw(left)
        for box in boxes:
            # White around red: one of them is visible on every picture. Both are outside the digit.
            for distance, colour in ((2, "red"), (3, "white")):
                x1, y1, x2, y2 = (round(corner * box_scale) for corner in box)
                draw.rectangle((x1 - distance, y1 - distance, x2 + distance - 1, y2 + distance - 1), outline=colour)
    preview.paste(left, ((280 - left.width) // 2, (280 - left.height) // 2))
    for index, pixels in enumerate(inputs):
        square = Image.fromarray((pixels * 255).round().astype(np.uint8))
        preview.paste(square.resize((280, 280), Image.Resampling.NEAREST), (300 * (index + 1), 0))
    return preview


def is_large(file: BinaryIO) -> bool:
    """Returns whether an image file has more than MAX_PIXELS, or a JPEG file more than MAX_JPEG_PIXELS.

    `read_image` needs up to MAX_TIFF_MEMORY for such an image, or more if it has a memory problem: threads should read
    one at a time. The result is False for a file that `read_image` refuses.
    """
    with contextlib.suppress(Exception), _open(file) as image:
        return _has_large_size(image)
    return False


def find_memory_problem(source: Union[str, Path, BinaryIO]) -> str:
    """Returns why `read_image` needs too much memory beside TensorFlow for an image file, or "".

    It needs up to 0.8 GB for a large image of such a kind. The result is "" for a file that `read_image` refuses.
    """
    with contextlib.suppress(Exception), _open_binary(source) as file, _open(file) as image:
        kind, advice = _name_costly_kind(image) if _has_large_size(image) else ("", "")
        if kind:
            limit = MAX_JPEG_PIXELS if image.format in _JPEG_FORMATS else MAX_PIXELS
            return f"{get_display_name(source)} {_describe_size(*image.size, limit, kind)}{advice}"
    return ""


@contextlib.contextmanager
def _open_binary(source: Union[str, Path, BinaryIO]) -> Iterator[BinaryIO]:
    if not isinstance(source, (str, Path)):
        yield source
        return
    if Path(source).exists() and not Path(source).is_file():
        raise InputError("is not a file")
    with open(str(source), "rb") as file:
        yield file


def _read_file(file: BinaryIO) -> Image.Image:
    with _open(file) as image:
        side = max(image.size)
        size = MAX_SIDE, MAX_SIDE
        if _has_large_size(image):  # the shorter side of a panorama may become shorter than MAX_SIDE
            size = _reduce_size(image.size)
        image.draft("RGB", size)
        reduced, transpose = _load_reduced(image)
    del image  # its pixels are no longer needed
    return _make_upright_rgb(reduced, transpose, side)


def _open(file: BinaryIO) -> Any:
    """Opens an image file. No pixels are decoded yet. Raises InputError if that would need too much memory."""
    num_bytes = file.seek(0, os.SEEK_END)
    if num_bytes > MAX_LARGE_BYTES:
        raise InputError(f"has {num_bytes:,} bytes, more than {MAX_LARGE_BYTES:,}: reduce its size")
    file.seek(0)
    if file.read(8) == _PNG_SIGNATURE:
        _check_png(file, num_bytes)
    file.seek(0)
    image = Image.open(file, formats=FORMATS)
    if num_bytes > MAX_BYTES and image.format not in ("PNG", "BMP", "TIFF"):
        raise InputError(
            f"has {num_bytes:,} bytes, more than the {MAX_BYTES:,} of {image.format} files: reduce its size"
        )
    _check_size(image)
    if image.format == "TIFF":
        _check_tiff(image, num_bytes)
    if num_bytes > MAX_BYTES or _has_large_size(image):
        if image.format == "TIFF":
            _check_metadata(sum(map(len, image.tag_v2._tagdata.values())))
        elif image.format in _JPEG_FORMATS:
            _check_metadata(sum(len(segment) for _, segment in image.applist))
    return image


def _check_png(file: BinaryIO, num_bytes: int) -> None:
    """Checks a PNG file before Pillow opens it: some versions then allocate the canvas of an animation."""
    file.seek(8)
    _, chunk, width, height = struct.unpack(">I4sII", file.read(16))
    if chunk != b"IHDR":
        raise InputError("is damaged: its header is missing")
    if width * height > MAX_LARGE_PIXELS:
        raise InputError(_describe_size(width, height, MAX_LARGE_PIXELS, "PNG images"))
    if num_bytes > MAX_BYTES or width * height > MAX_PIXELS:
        file.seek(8)
        num_metadata = 0
        while chunk != b"IEND":
            length, chunk = struct.unpack(">I4s", file.read(8))
            num_metadata += length if chunk != b"IDAT" else 0
            file.seek(length + 4, os.SEEK_CUR)
        _check_metadata(num_metadata)


def _check_metadata(num_bytes: int) -> None:
    # Pillow keeps metadata, and copies them while it reads them.
    if num_bytes > MAX_LARGE_METADATA:
        raise InputError(f"has {num_bytes:,} bytes of metadata, more than {MAX_LARGE_METADATA:,}: remove them")


def _check_tiff(image: Any, num_bytes: int) -> None:
    """Raises InputError if Pillow and libtiff need too much memory for a TIFF file."""
    tags = image.tag_v2
    num_pixels = image.width * image.height
    decoded = num_pixels * (1 if image.mode in ("1", "L", "P") else 4)
    needed = decoded
    if image.info["compression"] != "raw":  # libtiff maps the file into memory, and decodes whole strips or tiles
        block = min(num_pixels, image.width * tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height))
        if TiffImagePlugin.TILEWIDTH in tags:
            block = tags[TiffImagePlugin.TILEWIDTH] * tags[TiffImagePlugin.TILELENGTH]
        bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) * tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
        if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 6:  # YCbCr, converted to RGBA
            bits += 32
        needed += num_bytes + block * bits // 8
    if tags.get(_EXIF_ORIENTATION, 1) != 1:  # Pillow turns the decoded image
        needed = max(needed, 2 * decoded)
    if needed > MAX_TIFF_MEMORY:
        raise InputError(
            f"has {image.width:,} x {image.height:,} pixels that need {needed:,} bytes of memory, more than the "
            f"{MAX_TIFF_MEMORY:,} of TIFF images: reduce its size, or save it upright and in smaller strips or tiles"
        )


def _check_size(image: Image.Image) -> None:
    if image.width * image.height == 0:
        raise InputError("has no pixels")
    if _has_large_size(image):
        limit = MAX_LARGE_JPEG_PIXELS if image.format in _JPEG_FORMATS else MAX_LARGE_PIXELS
        kind, advice = f"{image.format} images" if image.format else "images", ""
        if image.mode.startswith(("I", "F")) or (image.format in ("PNG", "TIFF") and ";16" in str(image.tile)):
            limit = MAX_PIXELS
            kind, advice = "images with more than 8 bits per channel", ", or save it with 8 bits per channel"
        if image.width * image.height > limit:
            raise InputError(_describe_size(image.width, image.height, limit, kind) + advice)


def _has_large_size(image: Image.Image) -> bool:
    return image.width * image.height > (MAX_JPEG_PIXELS if image.format in _JPEG_FORMATS else MAX_PIXELS)


def _name_costly_kind(image: Any) -> Tuple[str, str]:
    """Returns the name of the kind of an image that needs much memory per pixel, and advice; otherwise "", ""."""
    if image.format == "WEBP":  # libwebp and Pillow keep four copies of the pixels
        return "WEBP images", ", or save it as JPEG or PNG"
    if image.format == "PNG" and image.is_animated:  # Pillow keeps copies of the canvas
        return "animated PNG images", ", or save its first frame alone"
    if image.format in _JPEG_FORMATS and image.fp:
        _, horizontal, vertical, _ = zip(*image.layer)  # the sampling factors of each channel
        num_samples = sum(x * y for x, y in zip(horizontal, vertical)) / (max(horizontal) * max(vertical))
        # libjpeg keeps 2 bytes for each sample of the whole image until it has read the last scan.
        if num_samples > 1.5 and _has_several_scans(image):
            return "progressive JPEG images without 4:2:0 subsampling", ", or save it as a baseline JPEG"
    return "", ""


def _has_several_scans(image: Any) -> bool:
    """Returns whether the first scan of an open JPEG file has not all its channels and coefficients."""
    if "progressive" in image.info:
        return True
    image.fp.seek(2)
    with contextlib.suppress(struct.error, IndexError):  # an unusual header: assume several
        while True:
            marker, length = struct.unpack(">HH", image.fp.read(4))
            if marker == 0xFFDA:
                return image.fp.read(1)[0] < image.layers
            if marker <= 0xFF00 or length < 2:
                break
            image.fp.seek(length - 2, os.SEEK_CUR)
    return True


def _describe_size(width: int, height: int, limit: int, kind: str) -> str:
    return f"has {width:,} x {height:,} = {width * height:,} pixels, more than the {limit:,} of {kind}: reduce its size"


def _load_reduced(image: Image.Image) -> Tuple[Image.Image, Optional[Image.Transpose]]:
    """Returns a copy in mode RGB or RGBA, reduced to MAX_SIDE, and how to transpose it to make it upright."""
    _check_size(image)
    image.load()
    reduced = _reduce_to_rgb(image)
    if image.format != "TIFF":  # there, Pillow has already applied the orientation
        with contextlib.suppress(Exception):  # no valid EXIF orientation: leave unrotated
            return reduced, _TRANSPOSE_BY_ORIENTATION[image.getexif()[_EXIF_ORIENTATION]]
    return reduced, None


def _make_upright_rgb(image: Image.Image, transpose: Optional[Image.Transpose], original_side: int) -> Image.Image:
    rgb = _composite_alpha(image) if image.mode == "RGBA" else image
    rgb = rgb if transpose is None else rgb.transpose(transpose)
    rgb.info = {"scale": original_side / max(rgb.size)}
    return rgb


def _reduce_to_rgb(image: Image.Image) -> Image.Image:
    """Returns a copy of a decoded image, reduced to MAX_SIDE, in mode RGBA if it has transparency, else in mode RGB."""
    if image.mode == "F":
        raise InputError("has floating-point pixels: save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        bits = getattr(image, "tag_v2", {}).get(258, (0,))  # of a TIFF file
        if levels.min() < 0 or levels.max() > 65535 or max(bits) > 16:
            raise InputError("has 32-bit pixels: save it with 8 or 16 bits per channel")
        image = Image.fromarray((levels // 257).astype(np.uint8))
    has_alpha = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
    mode = "RGBA" if has_alpha else "RGB"
    if _has_large_size(image):
        image = _reduce_in_blocks(image, mode)
    elif image.mode in ("L", "RGB", "RGBA", "CMYK") and "transparency" not in image.info:
        image = _reduce(image)  # before the conversion, whose copy then needs less memory
    return _reduce(image.convert(mode))


def _reduce_in_blocks(image: Image.Image, mode: str) -> Image.Image:
    """Converts an image to a mode and reduces it by a whole number; its longer side stays at least MAX_SIDE.

    The whole image is never copied: a copy needs up to 4 bytes per pixel.
    """
    factor = max(image.size) // MAX_SIDE
    side = factor * -(-MAX_SIDE // factor)  # of a block; a multiple of the factor, so that the blocks stay aligned
    reduced = Image.new(mode, [-(-length // factor) for length in image.size])
    for top in range(0, image.height, side):
        for left in range(0, image.width, side):
            block = image.crop((left, top, min(left + side, image.width), min(top + side, image.height)))
            reduced.paste(block.convert(mode).reduce(factor), (left // factor, top // factor))
    return reduced


def _reduce(image: Image.Image) -> Image.Image:
    return image if max(image.size) <= MAX_SIDE else image.resize(_reduce_size(image.size), Image.Resampling.BOX)


def _reduce_size(size: Tuple[int, int]) -> Tuple[int, int]:
    scale = max(size) / MAX_SIDE
    return max(1, round(size[0] / scale)), max(1, round(size[1] / scale))


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
