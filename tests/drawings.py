"""Images of digits for tests, drawn in fonts: no files of handwriting with an unknown licence are needed."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

FONTS = [
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "DejaVuSansMono",
]


def find_font(name):
    """Returns the file of one of the FONTS, from matplotlib or from the system. Skips the test if there is none."""
    try:
        import matplotlib

        return str(Path(matplotlib.get_data_path(), "fonts", "ttf", name + ".ttf"))
    except ImportError:
        try:
            return ImageFont.truetype(name + ".ttf").path  # Pillow searches the system's font folders
        except OSError:
            pytest.skip(f"needs the font {name}: pip install matplotlib")


def draw_strokes(digit, font="DejaVuSans", size=100, image_size=None, at=None):
    """Draws a digit or a number, white on black.

    Args:
      digit: an int in 0..9, or the digits of a number, such as "007".
      font: one of FONTS.
      size: font size in pixels.
      image_size: (width, height) in pixels; default: twice the font size.
      at: (x, y) of the digit's top left corner; default: the digit is centred.

    Returns:
      strokes: uint8 [h, w].
    """
    font = ImageFont.truetype(find_font(font), size)
    left, top, right, bottom = font.getbbox(str(digit))
    width, height = image_size or (2 * size, 2 * size)
    x, y = at or ((width - right + left) // 2, (height - bottom + top) // 2)
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((x - left, y - top), str(digit), 255, font=font)
    return np.asarray(image)


def paint(strokes, colour, background, light=1.0, noise=0.0, seed=0):
    """Paints strokes in one colour on a background of another.

    Args:
      strokes: uint8 [h, w].
      colour, background: (red, green, blue) in 0..255.
      light: factor for each pixel, float [h, w], or one for all.
      noise: standard deviation of the noise that is added to each pixel, in 0..255.
      seed: random seed of the noise.

    Returns:
      A PIL image of mode RGB.
    """
    opacity = strokes[..., np.newaxis] / 255
    pixels = (np.array(colour) * opacity + np.array(background) * (1 - opacity)) * np.asarray(light)[..., np.newaxis]
    pixels = pixels + np.random.RandomState(seed).normal(0, 1, pixels.shape) * noise
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def make_uneven_light(height, width):
    """Makes light that falls to about half from one corner to the other, and is darker at the edges: float [h, w]."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (0.75 - 0.125 * (x + y)) * (1 - 0.1 * (x**2 + y**2))


def draw_random(random):
    """Draws a digit with random font, size, position, colours, light and noise.

    Args:
      random: a np.random.RandomState.

    Returns:
      (PIL image, digit)
    """
    digit, size = random.randint(10), random.randint(24, 200)
    font = FONTS[random.randint(len(FONTS))]
    width, height = (int(size * random.uniform(1.2, 4)) for _ in range(2))
    at = random.randint(0, width - size * 4 // 5), random.randint(0, height - size * 4 // 5)
    colour, background = np.zeros(3), np.zeros(3)
    while abs(colour - background).max() < 100:
        colour, background = random.randint(0, 256, [2, 3])
    light = make_uneven_light(height, width) if random.rand() < 0.5 else 1.0
    strokes = draw_strokes(digit, font, size, (width, height), at)
    return paint(strokes, colour, background, light, random.uniform(0, 10), random.randint(2**31)), digit


def encode_variants():
    """Yields (format, content) of a small image file in each supported format and in some variants of them.

    test_image_fuzz.py calls it in a process with a memory limit, so this module must not import TensorFlow.
    """
    image = paint(draw_strokes(7, size=24), (0, 0, 0), (255, 255, 255))
    grey16 = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    for format, variant, options in [
        ("PNG", image, {"exif": exif}),
        ("PNG", image.convert("P"), {}),
        ("PNG", grey16, {}),
        ("JPEG", image, {"exif": exif}),
        ("JPEG", image.convert("CMYK"), {"progressive": True}),
        ("GIF", image, {"save_all": True, "append_images": [image]}),
        ("BMP", image, {}),
        ("TIFF", image, {}),
        ("TIFF", image.convert("RGBA"), {"compression": "tiff_lzw"}),
        ("TIFF", image.convert("1"), {"compression": "group4"}),
        ("WEBP", image, {"exif": exif}),
        ("WEBP", image, {"save_all": True, "append_images": [image.rotate(90)], "lossless": True}),
    ]:
        file = io.BytesIO()
        variant.save(file, format, **options)
        yield format, file.getvalue()


def encode_image(image, file_format="PNG"):
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, file_format)
    return file.getvalue()
