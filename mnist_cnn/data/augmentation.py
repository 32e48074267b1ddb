"""Random affine transforms of the training images, and random widths of their strokes."""

import numpy as np

from mnist_cnn.recipes import Augmentation

_SIZE = 28
_CENTRE = np.float32((_SIZE - 1) / 2)
_OFFSETS = np.arange(_SIZE, dtype=np.float32) - _CENTRE


def augment(images: np.ndarray, augmentation: Augmentation, seed: int, step: int) -> np.ndarray:
    """Applies a random affine transform to each image, deterministic in (seed, step).

    Rotates, scales, shears and shifts, with bilinear interpolation and zero padding. Before that, it changes the
    stroke width of a fraction of the images by one or two pixels.

    Args:
      images: uint8 [n, 28, 28, 1] in 0..255.
      augmentation: the ranges.
      seed, step: ints, zero or more.

    Returns:
      float32 [n, 28, 28, 1] in [0, 1].
    """
    if augmentation.stroke_width:
        images = _change_stroke_width(images, augmentation.stroke_width, seed, step)
    n = len(images)
    # A 3-element seed keeps this stream apart from the shuffle's [seed, data_pass]; docs/design.md has the exception.
    draws = np.random.RandomState([seed, step, 1]).uniform(-1, 1, [6, n, 1]).astype(np.float32)
    angle = np.radians(np.float32(augmentation.rotation)) * draws[0]
    scale_y, scale_x = 1 + np.float32(augmentation.scaling) * draws[1:3]
    shear = np.float32(augmentation.shear) * draws[3]
    shift_y, shift_x = np.float32(augmentation.shift) * draws[4:6]
    cos, sin = np.cos(angle), np.sin(angle)
    y = _source_coords((cos * scale_y - sin * shear) * _OFFSETS, -sin * scale_x * _OFFSETS, shift_y)
    x = _source_coords((sin * scale_y + cos * shear) * _OFFSETS, cos * scale_x * _OFFSETS, shift_x)
    top, left = np.floor(y), np.floor(x)
    y -= top
    x -= left

    # Pack each 2x2 neighbourhood into one 32-bit integer, so that one lookup fetches all four pixels.
    padded = np.pad(images[..., 0], [(0, 0), (1, 1), (1, 1)], "constant")
    corners = np.empty([n, _SIZE + 1, _SIZE + 1, 4], np.uint8)
    for corner in range(4):
        row, column = divmod(corner, 2)
        corners[..., corner] = padded[:, row : row + _SIZE + 1, column : column + _SIZE + 1]
    top *= _SIZE + 1
    top += left
    positions = top.astype(np.intp)
    positions += (np.arange(n) * (_SIZE + 1) ** 2)[:, np.newaxis, np.newaxis]
    neighbours = corners.view(np.uint32).ravel().take(positions).view(np.uint8).reshape(n, _SIZE, _SIZE, 4)

    top_left, top_right, bottom_left, bottom_right = (neighbours[..., corner].astype(np.float32) for corner in range(4))
    above = top_left + x * (top_right - top_left)
    below = bottom_left + x * (bottom_right - bottom_left)
    return ((above + y * (below - above)) / np.float32(255))[..., np.newaxis]


def _change_stroke_width(images: np.ndarray, fraction: float, seed: int, step: int) -> np.ndarray:
    """Changes the width of the strokes of a random fraction of the images.

    Three in eight of them become wider by one pixel along a random axis, three become narrower by one pixel, and two
    become wider by two pixels along both axes. Wider is the maximum of an image and the image shifted by one pixel;
    narrower is their minimum.

    Args:
      images: uint8 [n, 28, 28, 1].
      fraction: in [0, 1], the probability of a change.
      seed, step: ints, zero or more.

    Returns:
      uint8 [n, 28, 28, 1].
    """
    draws = np.random.RandomState([seed, step, 2**31]).uniform(size=[2, len(images)])
    kind, is_vertical = 8 * draws[0] / fraction, draws[1] < 0.5
    changed = images.copy()
    for axis, is_chosen in (1, is_vertical), (2, ~is_vertical):
        for operation, is_kind in (np.maximum, kind < 3), (np.minimum, (kind >= 3) & (kind < 6)):
            chosen = images[is_chosen & is_kind]
            changed[is_chosen & is_kind] = operation(chosen, _shift(chosen, axis))
    is_thick = (kind >= 6) & (kind < 8)
    thick = images[is_thick]
    for axis in (1, 2, 1, 2):
        thick = np.maximum(thick, _shift(thick, axis))
    changed[is_thick] = thick
    return changed


def _shift(images: np.ndarray, axis: int) -> np.ndarray:
    """Shifts uint8 [n, 28, 28, 1] by one pixel along axis 1 or 2, with zero padding."""
    shifted = np.zeros_like(images)
    if axis == 1:
        shifted[:, 1:] = images[:, :-1]
    else:
        shifted[:, :, 1:] = images[:, :, :-1]
    return shifted


def _source_coords(by_row: np.ndarray, by_column: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """One source coordinate of each pixel, float32 [n, 28, 28], in an image padded by one black pixel."""
    coords = by_row[:, :, np.newaxis] + (by_column + (shift + _CENTRE + 1))[:, np.newaxis, :]
    return np.clip(coords, 0, np.float32(_SIZE + 0.999), out=coords)
