"""Small random distortions of the training images, drawn afresh for every image of every step."""

import numpy as np

_SIZE = 28
_CENTRE = np.float32((_SIZE - 1) / 2)
_OFFSETS = np.arange(_SIZE, dtype=np.float32) - _CENTRE


def augment(images, augmentation, seed, step):
    """Rotates, scales, shears and shifts each image by amounts of its own, a function of (seed, step) alone.

    Bilinear interpolation; what comes from outside of an image is black.

    Args:
      images: uint8 [n, 28, 28, 1] in 0..255.
      augmentation: an Augmentation; amounts are drawn uniformly up to it, either way.
      seed, step: ints, zero or more.

    Returns:
      float32 [n, 28, 28, 1] in [0, 1].
    """
    n = len(images)
    # Three numbers: the order of the images is drawn with two.
    draws = np.random.RandomState([seed, step, 1]).uniform(-1, 1, [6, n, 1]).astype(np.float32)
    angle = np.radians(np.float32(augmentation.rotation)) * draws[0]
    scale_y, scale_x = 1 + np.float32(augmentation.scaling) * draws[1:3]
    shear = np.float32(augmentation.shear) * draws[3]
    shift_y, shift_x = np.float32(augmentation.shift) * draws[4:6]
    cos, sin = np.cos(angle), np.sin(angle)
    y = _source((cos * scale_y - sin * shear) * _OFFSETS, -sin * scale_x * _OFFSETS, shift_y)
    x = _source((sin * scale_y + cos * shear) * _OFFSETS, cos * scale_x * _OFFSETS, shift_x)
    top, left = np.floor(y), np.floor(x)
    y -= top
    x -= left

    # The 2x2 pixels at each place as one integer of 32 bits, to look all four up at once.
    framed = np.pad(images[..., 0], [(0, 0), (1, 1), (1, 1)], "constant")
    corners = np.empty([n, _SIZE + 1, _SIZE + 1, 4], np.uint8)
    for corner in range(4):
        row, column = divmod(corner, 2)
        corners[..., corner] = framed[:, row : row + _SIZE + 1, column : column + _SIZE + 1]
    top *= _SIZE + 1
    top += left
    places = top.astype(np.intp)
    places += (np.arange(n) * (_SIZE + 1) ** 2)[:, np.newaxis, np.newaxis]
    found = corners.view(np.uint32).ravel().take(places).view(np.uint8).reshape(n, _SIZE, _SIZE, 4)

    top_left, top_right, bottom_left, bottom_right = (found[..., corner].astype(np.float32) for corner in range(4))
    above = top_left + x * (top_right - top_left)
    below = bottom_left + x * (bottom_right - bottom_left)
    return ((above + y * (below - above)) / np.float32(255))[..., np.newaxis]


def _source(by_row, by_column, shift):
    """One coordinate, float32 [n, 28, 28], of where each pixel comes from in an image framed by one black pixel."""
    at = by_row[:, :, np.newaxis] + (by_column + (shift + _CENTRE + 1))[:, np.newaxis, :]
    return np.clip(at, 0, np.float32(_SIZE + 0.999), out=at)
