"""From a picture of any size and colour to what MNIST's digits are. Needs the extra `images`.

MNIST's are bilevel scans, fitted into 20x20 pixels with their proportions kept, which makes grey levels, and laid into
28x28 with their centre of mass in the middle (http://yann.lecun.com/exdb/mnist/). Here each picture is first resized
to SIDE, so that what follows does not depend on its resolution:

    picture -> background subtracted -> the colour that differs most from it -> the connected parts that are the digit
            -> the same again, closer, for a small digit in a large picture -> cut out, fitted, centred

The constants were chosen on drawn fonts, and on MNIST's validation images as photos and as scans of 8x8 pixels.
"""

import numpy as np

from mnist_cnn.errors import NoDigitFound
from mnist_cnn.inference.image_io import Image, display_name, read_image

try:
    from scipy import ndimage
except ImportError as error:
    raise ImportError("to read pictures, pip install '.[images]'") from error

SIDE = 160  # pixels, the longer side: 8 for each of the box's 20 where the digit fills the picture
BORDER = 0.1  # the share of the picture, on each side, that is mostly background
CONTRAST = 0.05  # the least between digit and background, where white and black differ by 1
CLARITY = 3.2  # the least contrast, in standard deviations of the background: on noise alone it is below 3
UNLIT = 0.55  # a digit leaves at least this share of the deviation that is there without the light
SPECK = 0.1  # a part with less than this share of the largest part's ink is none of the digit's
MARGIN = 0.35  # of the digit's size, around it, when looking closer
CLOSER = 0.57  # look closer where that makes the picture smaller than this share
CORNERS_TOO = np.ones([3, 3])  # pixels touch by these, as by their sides
EDGE = 0.25, 0.9  # of the contrast: the grey levels between them are the edge of a stroke


def prepare(picture):
    """A digit as MNIST would have it: float32 [28, 28] in [0, 1], white on black.

    Args:
      picture: a file's name, a binary seekable file, or a PIL image; in any colours, whichever is the background.

    Raises:
      NoDigitFound: it can be read, and nothing stands out from its background.
      InputError: it cannot be read (see `pictures.read_image`).
    """
    rgb = read_image(picture)
    while True:
        width, height = _scaled(rgb.size, SIDE)
        smooth = Image.Resampling.BICUBIC if width > rgb.width else Image.Resampling.BOX
        found = _find(np.asarray(rgb.resize((width, height), smooth), np.float32) / 255)
        if found is None:
            raise NoDigitFound(f"{display_name(picture)}: no digit found")
        ink, digit = found
        left, top, right, bottom = _extent(digit)
        margin = MARGIN * max(right - left, bottom - top)
        scale = rgb.width / width
        closer = (
            max(0, int((left - margin) * scale)),
            max(0, int((top - margin) * scale)),
            min(rgb.width, int(np.ceil((right + margin) * scale))),
            min(rgb.height, int(np.ceil((bottom + margin) * scale))),
        )
        if max(closer[2] - closer[0], closer[3] - closer[1]) > CLOSER * max(rgb.size):
            return _centred(_box(ink))
        rgb = rgb.crop(closer)


def _find(pixels):
    """The ink of the digit, float32 [h, w] in [0, 1], and where it is, bool [h, w]; None where there is none.

    Of the backgrounds the one that leaves less between background and ink, which is all that a digit has.
    """
    best, least = None, np.inf
    for background in _backgrounds(pixels):
        contrast = _contrast(pixels - background)
        digit = _digit(contrast)
        if digit is not None:
            ink = contrast / contrast[digit].mean()
            between = np.minimum(abs(ink), np.maximum(1 - ink, 0)).mean()
            if between < least:
                best, least = (ink, digit), between
    if best is None:
        return None
    ink, digit = best
    low, high = EDGE
    return np.clip((ink - low) / (high - low), 0, 1) * ndimage.binary_dilation(digit, CORNERS_TOO, 2), digit


def _backgrounds(pixels):
    """What the picture may be without its digit: the light that falls on it; and where that is not most of what there
    is to see, the border's colour, and those of its darkest and lightest pixels, for a digit that touches it all round.

    Args:
      pixels: float32 [h, w, 3] in [0, 1].
    """
    h, w, _ = pixels.shape
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    border = np.maximum(abs(x), abs(y)) >= 1 - 2 * BORDER
    light = _light(pixels, np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1), border)
    yield light
    if (pixels - light).std() > UNLIT * (pixels - pixels.mean(axis=(0, 1))).std():
        yield np.median(pixels[border], axis=0)
        yield from _ends(pixels[border])


def _light(pixels, terms, border):
    """The light as a sum of `terms`, [h, w, 6], of which each colour has its share: float32 [h, w, 3]."""
    terms = terms.astype(np.float32)
    # The border may have ink on it. Weighted like this, it counts little.
    at_border, weights = pixels[border], np.ones([np.count_nonzero(border), 1], np.float32)
    for _ in range(10):
        shares = _least_squares(weights * terms[border], weights * at_border)
        weights = np.sqrt(1 / np.maximum(_length(at_border - terms[border] @ shares), 0.004))[:, np.newaxis]
    # Then all that is like the background so far.
    for _ in range(3):
        distance = _length(pixels - terms @ shares)
        like = distance < max(3 * np.median(distance[border]), 0.25 * np.percentile(distance, 99.5))
        if like.mean() < 0.3:
            break
        shares = _least_squares(terms[like], pixels[like])
    return terms @ shares


def _ends(colours):
    """The mean of the darkest fifth of some colours, and that of the lightest."""
    brightness = colours.sum(axis=1)
    dark, light = np.percentile(brightness, [20, 80])
    yield colours[brightness <= dark].mean(axis=0)
    yield colours[brightness >= light].mean(axis=0)


def _least_squares(terms, values):
    return np.linalg.lstsq(terms, values, rcond=None)[0].astype(np.float32)


def _length(colours):
    return np.sqrt((colours**2).sum(axis=-1))


def _contrast(differences):
    """How far each pixel is from the background, positive on the digit's side: float32 [h, w].

    Measured along the colour that differs most: red and green of one brightness are told apart.
    """
    flat = differences.reshape(-1, 3)
    colour = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    contrast = differences @ colour / np.sqrt(np.float32(3))
    return contrast if (contrast**3).sum() >= 0 else -contrast  # the digit differs more, on less of the picture


def _digit(contrast):
    """Which pixels are the digit's, bool [h, w], or None where nothing stands out."""
    smooth = ndimage.uniform_filter(contrast, 3, mode="nearest")
    over = smooth >= smooth.max() / 2
    for _ in range(3):  # halfway between the background, at 0, and the mean of what is above
        over = smooth >= smooth[over].mean() / 2
    level = smooth[over].mean()
    outermost = np.concatenate([over[0], over[-1], over[:, 0], over[:, -1]])
    if level < CONTRAST or outermost.mean() > 0.5 or level < CLARITY * contrast[~over].std():
        return None
    parts, _ = ndimage.label(over, CORNERS_TOO)
    ink = np.bincount(parts.ravel(), weights=(smooth * over).ravel())
    kept = ink >= SPECK * ink.max()
    return kept[parts] & over if ink[kept].sum() >= ink.sum() / 2 else None


def _box(ink):
    """The ink fitted into 20x20 with its proportions kept: float32 [h, w], of which one is 20."""
    left, top, right, bottom = _extent(ink > 0.5)
    cut = Image.fromarray(ink[top:bottom, left:right].astype(np.float32))
    return np.asarray(cut.resize(_scaled(cut.size, 20), Image.Resampling.BOX))


def _centred(box):
    """A box in 28x28 with its centre of mass in the middle, as far as it has the room."""
    image = np.zeros([28, 28], np.float32)
    corner = []
    for axis, length in enumerate(box.shape):
        mass = box.sum(axis=1 - axis)
        centre = (mass * (np.arange(length) + 0.5)).sum() / mass.sum()
        corner.append(min(max(int(round(14 - centre)), 0), 28 - length))
    y, x = corner
    image[y : y + box.shape[0], x : x + box.shape[1]] = box
    return image


def _extent(mask):
    """(left, top, right, bottom) of what is True, the last two exclusive."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _scaled(size, longer):
    """(width, height) with the longer side made `longer`."""
    return tuple(max(1, int(round(length * longer / max(size)))) for length in size)
