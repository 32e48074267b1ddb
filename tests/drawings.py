"""Digits drawn in fonts: what tests read, since files of handwriting would be somebody's."""

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


def font_file(name):
    """One of the FONTS, which matplotlib ships and many systems have."""
    try:
        import matplotlib

        return str(Path(matplotlib.get_data_path(), "fonts", "ttf", name + ".ttf"))
    except ImportError:
        try:
            return ImageFont.truetype(name + ".ttf").path  # Pillow looks where the system keeps fonts
        except OSError:
            pytest.skip(f"needs the font {name}: pip install matplotlib")


def ink(digit, font="DejaVuSans", size=100, picture=None, at=None):
    """A digit as uint8 [h, w], white on black; by default in a picture twice as high, in its middle."""
    font = ImageFont.truetype(font_file(font), size)
    left, top, right, bottom = font.getbbox(str(digit))
    width, height = picture or (2 * size, 2 * size)
    x, y = at or ((width - right + left) // 2, (height - bottom + top) // 2)
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((x - left, y - top), str(digit), 255, font=font)
    return np.asarray(image)


def painted(strokes, colour, background, light=1.0, noise=0.0, seed=0):
    """Strokes of one colour on another, as a PIL image.

    Args:
      strokes: uint8 [h, w].
      colour, background: (red, green, blue) in 0..255.
      light: what the picture is multiplied with, [h, w] or a number.
      noise: the standard deviation of what is added to each pixel, in 0..255.
    """
    share = strokes[..., np.newaxis] / 255
    pixels = (np.array(colour) * share + np.array(background) * (1 - share)) * np.asarray(light)[..., np.newaxis]
    pixels = pixels + np.random.RandomState(seed).normal(0, 1, pixels.shape) * noise
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def uneven_light(height, width):
    """From one corner to the other down to half, and darker towards the edges: float [h, w]."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (0.75 - 0.125 * (x + y)) * (1 - 0.1 * (x**2 + y**2))


def any_drawing(random):
    """(a picture, its digit): a font, size, place, colours and light, all by chance."""
    digit, size = random.randint(10), random.randint(24, 200)
    font = FONTS[random.randint(len(FONTS))]
    width, height = (int(size * random.uniform(1.2, 4)) for _ in range(2))
    at = random.randint(0, width - size * 4 // 5), random.randint(0, height - size * 4 // 5)
    colour, background = np.zeros(3), np.zeros(3)
    while abs(colour - background).max() < 100:
        colour, background = random.randint(0, 256, [2, 3])
    light = uneven_light(height, width) if random.rand() < 0.5 else 1.0
    strokes = ink(digit, font, size, (width, height), at)
    return painted(strokes, colour, background, light, random.uniform(0, 10), random.randint(2**31)), digit
