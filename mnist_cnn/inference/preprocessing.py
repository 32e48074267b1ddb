"""Convert any image of a digit to MNIST format. Needs the extra `images`.

MNIST's digits are bilevel scans. They were scaled to fit 20x20 pixels with their aspect ratio kept, which gave them
grey levels, and placed in 28x28 pixels with their centre of mass in the middle (http://yann.lecun.com/exdb/mnist/).
`prepare` does the same with any image:

1. Resize the image to WORKING_SIDE, so that the following steps do not depend on its resolution.
2. Estimate the background and subtract it.
3. Project the colours onto the axis along which they differ most from the background.
4. Apply a threshold and keep the connected components that are large enough to belong to the digit.
5. If the digit is small in the image, crop the image around it and repeat from step 1.
6. Scale the digit to fit 20x20 pixels and centre it in 28x28 pixels by its mass.

The constants were chosen on digits drawn in fonts, and on MNIST's validation images, shown as photos and as scans of
8x8 pixels.
"""

from typing import Iterator, Optional, Tuple

import numpy as np

from mnist_cnn.errors import NoDigitFound
from mnist_cnn.inference.image_io import ImageSource, get_display_name, read_image

try:
    from PIL import Image
    from scipy import ndimage
except ImportError as error:
    raise ImportError("preparing images needs SciPy: pip install '.[images]'") from error

WORKING_SIDE = 160  # pixels, longer side; 8 for each pixel of the 20x20 box if the digit fills the image
BORDER_WIDTH = 0.1  # of the image's width and height; the border is assumed to be mostly background
MIN_CONTRAST = 0.05  # between digit and background; black and white differ by 1
MIN_SNR = 3.2  # contrast in standard deviations of the background; images of noise alone stay below 3
# Constant backgrounds are tried only if the fitted illumination leaves more than this fraction of the image's standard
# deviation. Chosen on the scans of 8x8 pixels, whose digits touch the border.
MIN_RESIDUAL_STD = 0.55
MIN_COMPONENT_INK = 0.1  # of the largest component's ink; components with less are specks
ZOOM_MARGIN = 0.35  # of the digit's longer side, kept around it when the image is cropped
ZOOM_THRESHOLD = 0.57  # crop only if the longer side shrinks to this fraction or less
EDGE_LEVELS = 0.25, 0.9  # of the contrast; the levels between these become the grey levels of a stroke's edge
EIGHT_CONNECTED = np.ones([3, 3])  # pixels that touch at a corner are connected


def prepare(source: ImageSource) -> np.ndarray:
    """Converts an image of one digit to MNIST format.

    Args:
      source: a file name, a seekable binary file, or a PIL image; of any size, with a digit of any colour on a
        background of another.

    Returns:
      digit: float32 [28, 28] in [0, 1], white on black.

    Raises:
      NoDigitFound: the image can be read, but no digit stands out from its background.
      InputError: the image cannot be read (see `image_io.read_image`).
    """
    rgb = read_image(source)
    while True:
        width, height = _scale_size(rgb.size, WORKING_SIDE)
        resampling = Image.Resampling.BICUBIC if width > rgb.width else Image.Resampling.BOX
        found = _find_digit(np.asarray(rgb.resize((width, height), resampling), np.float32) / 255)
        if found is None:
            raise NoDigitFound(f"{get_display_name(source)}: no digit found")
        ink, mask = found
        left, top, right, bottom = _find_bounding_box(mask)
        margin = ZOOM_MARGIN * max(right - left, bottom - top)
        scale = rgb.width / width
        crop = (
            max(0, int((left - margin) * scale)),
            max(0, int((top - margin) * scale)),
            min(rgb.width, int(np.ceil((right + margin) * scale))),
            min(rgb.height, int(np.ceil((bottom + margin) * scale))),
        )
        if max(crop[2] - crop[0], crop[3] - crop[1]) > ZOOM_THRESHOLD * max(rgb.size):
            return _center_by_mass(_fit_to_20x20(ink))
        rgb = rgb.crop(crop)


def _find_digit(pixels: np.ndarray) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Separates the digit from its background.

    Of the possible backgrounds, it chooses the one that gives the most bimodal ink: the least mean distance of the
    pixels from pure background and pure ink.

    Args:
      pixels: float32 [h, w, 3] in [0, 1].

    Returns:
      ink: float32 [h, w] in [0, 1], 1 in the digit's strokes and 0 in the background.
      mask: bool [h, w], True at the digit's pixels.
      None in place of both if no digit stands out.
    """
    best, least_distance = None, np.inf
    for background in _estimate_backgrounds(pixels):
        contrast = _measure_contrast(pixels - background)
        mask = _segment(contrast)
        if mask is not None:
            ink = contrast / contrast[mask].mean()
            distance = np.minimum(abs(ink), np.maximum(1 - ink, 0)).mean()
            if distance < least_distance:
                best, least_distance = (ink, mask), distance
    if best is None:
        return None
    ink, mask = best
    low, high = EDGE_LEVELS
    return np.clip((ink - low) / (high - low), 0, 1) * ndimage.binary_dilation(mask, EIGHT_CONNECTED, 2), mask


def _estimate_backgrounds(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Yields possible backgrounds of the digit, each broadcastable to the image.

    The first is a smooth illumination. Unless that explains most of the image, these constant colours follow: the
    median of the border, and its dark and its light mean, for a digit that touches the border on all sides.

    Args:
      pixels: float32 [h, w, 3] in [0, 1].
    """
    h, w, _ = pixels.shape
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    border = np.maximum(abs(x), abs(y)) >= 1 - 2 * BORDER_WIDTH
    illumination = _fit_illumination(pixels, np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1), border)
    yield illumination
    if (pixels - illumination).std() > MIN_RESIDUAL_STD * (pixels - pixels.mean(axis=(0, 1))).std():
        yield np.median(pixels[border], axis=0)
        yield from _dark_and_light_means(pixels[border])


def _fit_illumination(pixels: np.ndarray, terms: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Fits the light that falls on the background, as a linear combination of `terms` for each colour channel.

    Args:
      pixels: float32 [h, w, 3] in [0, 1].
      terms: float [h, w, 6], the terms of a quadratic polynomial in x and y.
      border: bool [h, w], True in the border.

    Returns:
      illumination: float32 [h, w, 3].
    """
    terms = terms.astype(np.float32)
    # The border may contain strokes. Iteratively reweighted least squares gives such outliers little weight.
    at_border, weights = pixels[border], np.ones([np.count_nonzero(border), 1], np.float32)
    for _ in range(10):
        coefficients = _solve_least_squares(weights * terms[border], weights * at_border)
        residuals = _norm(at_border - terms[border] @ coefficients)
        weights = np.sqrt(1 / np.maximum(residuals, 0.004))[:, np.newaxis]
    # Refit on all pixels that are close to the background estimated so far.
    for _ in range(3):
        distance = _norm(pixels - terms @ coefficients)
        is_close = distance < max(3 * np.median(distance[border]), 0.25 * np.percentile(distance, 99.5))
        if is_close.mean() < 0.3:
            break
        coefficients = _solve_least_squares(terms[is_close], pixels[is_close])
    return terms @ coefficients


def _dark_and_light_means(colours: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the mean of the darkest fifth of `colours` [n, 3], then that of the lightest fifth."""
    brightness = colours.sum(axis=1)
    dark, light = np.percentile(brightness, [20, 80])
    yield colours[brightness <= dark].mean(axis=0)
    yield colours[brightness >= light].mean(axis=0)


def _solve_least_squares(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(terms, values, rcond=None)[0].astype(np.float32)


def _norm(colours: np.ndarray) -> np.ndarray:
    return np.sqrt((colours**2).sum(axis=-1))


def _measure_contrast(differences: np.ndarray) -> np.ndarray:
    """Projects the differences from the background onto their first principal axis, positive for the digit.

    The projection also separates colours of equal brightness, such as red and green.

    Args:
      differences: float32 [h, w, 3], pixels minus background.

    Returns:
      contrast: float32 [h, w]; black and white differ by 1.
    """
    flat = differences.reshape(-1, 3)
    axis = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    contrast = differences @ axis / np.sqrt(np.float32(3))
    # The digit covers fewer pixels than the background and differs more, so its sign is that of the skewness.
    return contrast if (contrast**3).sum() >= 0 else -contrast


def _segment(contrast: np.ndarray) -> Optional[np.ndarray]:
    """Returns the digit's pixels as a mask, bool [h, w], or None if no digit stands out.

    Args:
      contrast: float32 [h, w], positive for the digit.
    """
    smooth = ndimage.uniform_filter(contrast, 3, mode="nearest")
    over = smooth >= smooth.max() / 2
    for _ in range(3):  # move the threshold halfway between the background, at 0, and the mean above the threshold
        over = smooth >= smooth[over].mean() / 2
    level = smooth[over].mean()
    outline = np.concatenate([over[0], over[-1], over[:, 0], over[:, -1]])
    if level < MIN_CONTRAST or outline.mean() > 0.5 or level < MIN_SNR * contrast[~over].std():
        return None
    components, _ = ndimage.label(over, EIGHT_CONNECTED)
    ink = np.bincount(components.ravel(), weights=(smooth * over).ravel())
    is_kept = ink >= MIN_COMPONENT_INK * ink.max()
    # If the small components hold most of the ink, the image shows noise.
    return is_kept[components] & over if ink[is_kept].sum() >= ink.sum() / 2 else None


def _fit_to_20x20(ink: np.ndarray) -> np.ndarray:
    """Crops the digit and scales it to fit 20x20 pixels with its aspect ratio kept.

    Args:
      ink: float32 [h, w] in [0, 1].

    Returns:
      box: float32 [h, w]; the larger of h and w is 20.
    """
    left, top, right, bottom = _find_bounding_box(ink > 0.5)
    cropped = Image.fromarray(ink[top:bottom, left:right].astype(np.float32))
    return np.asarray(cropped.resize(_scale_size(cropped.size, 20), Image.Resampling.BOX))


def _center_by_mass(box: np.ndarray) -> np.ndarray:
    """Places a box in 28x28 pixels with its centre of mass in the middle, or as close to it as the box fits."""
    image = np.zeros([28, 28], np.float32)
    corner = []
    for axis, length in enumerate(box.shape):
        mass = box.sum(axis=1 - axis)
        centre = (mass * (np.arange(length) + 0.5)).sum() / mass.sum()
        corner.append(min(max(int(round(14 - centre)), 0), 28 - length))
    y, x = corner
    image[y : y + box.shape[0], x : x + box.shape[1]] = box
    return image


def _find_bounding_box(mask: np.ndarray) -> Tuple[int, int, int, int]:
    """Returns (left, top, right, bottom) of the True pixels; right and bottom are exclusive."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _scale_size(size: Tuple[int, int], longer_side: int) -> Tuple[int, int]:
    """Scales (width, height) so that the longer side is `longer_side`."""
    width, height = (max(1, int(round(length * longer_side / max(size)))) for length in size)
    return width, height
