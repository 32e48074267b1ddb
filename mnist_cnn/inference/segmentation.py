"""Separation of the strokes in a picture from their background. Needs the extra `images`."""

from typing import Iterator, Optional, Tuple

import numpy as np

try:
    from scipy import ndimage
except ImportError as error:
    raise ImportError("preparing images needs SciPy: pip install '.[images]'") from error

BORDER_WIDTH = 0.1  # of the image's width and height; the border is assumed to be mostly background
MIN_CONTRAST = 0.05  # between digit and background; black and white differ by 1
MIN_SNR = 3.2  # contrast in standard deviations of the background; images of noise alone stay below 3
# Standard deviation of the background, as a fraction of the contrast and apart from noise: photos of other things
# exceed it. Chosen on 393 pictures of handwriting, which stay below 0.153.
MAX_BACKGROUND_STD = 0.16
# A background is plain if more than this fraction of the border differs from its median by less than 5 of 255 levels.
MIN_PLAIN_FRACTION, MAX_PLAIN_DIFFERENCE = 0.9, 5 / 255
# Constant backgrounds are tried only if the fitted illumination leaves more than this fraction of the image's standard
# deviation. Chosen on the scans of 8x8 pixels, whose digits touch the border.
MIN_RESIDUAL_STD = 0.55
MIN_COMPONENT_INK = 0.1  # of the largest component's ink; components with less are specks
# A component along one edge of the image is a strip, such as the edge of a page, if it is as long and as thin as this.
MIN_STRIP_LENGTH, MAX_STRIP_DEPTH = 0.8, 0.3  # fractions of the image's side
EIGHT_CONNECTED = np.ones([3, 3])  # pixels that touch at a corner are connected


def find_strokes(pixels: np.ndarray) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Separates the strokes of digits from their background.

    Of the possible backgrounds, it chooses the one that gives the most bimodal ink: the least mean distance of the
    pixels from pure background and pure ink.

    Args:
      pixels: float32 [h, w, 3] in [0, 1].

    Returns:
      ink: float32 [h, w], about 1 in the strokes and 0 in the background.
      mask: bool [h, w], True at the strokes' pixels.
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
    return best if best is not None and _has_even_background(*best) else None


def _has_even_background(ink: np.ndarray, mask: np.ndarray) -> bool:
    """Returns whether what is neither stroke nor strip has little structure."""
    smooth = ndimage.uniform_filter(ink, 3, mode="nearest")
    # What is next to a stroke may be its blurred edge.
    background = ~ndimage.binary_dilation(mask | (smooth >= 0.5), EIGHT_CONNECTED, 3)
    return not background.any() or smooth[background].std() <= MAX_BACKGROUND_STD


def _estimate_backgrounds(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Yields possible backgrounds of the digit, each broadcastable to the image.

    If the border has one colour, that is the only one. Otherwise the first is a smooth illumination. Unless that
    explains most of the image, these constant colours follow: the median of the border, and its dark and its light
    mean, for a digit that touches the border on all sides.

    Args:
      pixels: float32 [h, w, 3] in [0, 1].
    """
    h, w, _ = pixels.shape
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    border = np.maximum(abs(x), abs(y)) >= 1 - 2 * BORDER_WIDTH
    median = np.median(pixels[border], axis=0)
    if (_norm(pixels[border] - median) < MAX_PLAIN_DIFFERENCE).mean() > MIN_PLAIN_FRACTION:
        yield median
        return
    illumination = _fit_illumination(pixels, np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1), border)
    yield illumination
    if (pixels - illumination).std() > MIN_RESIDUAL_STD * (pixels - pixels.mean(axis=(0, 1))).std():
        yield median
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
    all_terms = terms.astype(np.float32)
    # A quarter of the pixels suffices for six coefficients.
    pixels, terms, border = pixels[::2, ::2], all_terms[::2, ::2], border[::2, ::2]
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
    return all_terms @ coefficients


def _dark_and_light_means(colours: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the mean of the darkest fifth of `colours` [n, 3], then that of the lightest fifth."""
    brightness = colours.sum(axis=1)
    dark, light = np.percentile(brightness, [20, 80])
    yield colours[brightness <= dark].mean(axis=0)
    yield colours[brightness >= light].mean(axis=0)


def _solve_least_squares(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    # The normal equations are 30 times as fast as np.linalg.lstsq, and precise enough for six well-scaled terms.
    normal = (terms.T @ terms).astype(float)
    normal += 1e-6 * np.trace(normal) * np.eye(len(normal))  # in an image of one row, the terms are collinear
    return np.linalg.solve(normal, (terms.T @ values).astype(float)).astype(np.float32)


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
    """Returns the pixels of the strokes as a mask, bool [h, w], or None if no digit stands out.

    Strips along the edges are left out, unless nothing stands out without them.

    Args:
      contrast: float32 [h, w], positive for the digit.
    """
    smooth = ndimage.uniform_filter(contrast, 3, mode="nearest")
    is_paper = np.ones(contrast.shape, bool)
    with_strips = None
    for _ in range(5):  # four edges can have strips
        over = (smooth >= smooth[is_paper].max() / 2) & is_paper
        for _ in range(3):  # move the threshold halfway between the background, at 0, and the mean above the threshold
            over = (smooth >= smooth[over].mean() / 2) & is_paper
        components, _ = ndimage.label(over, EIGHT_CONNECTED)
        mask = _select_strokes(components, contrast, smooth, is_paper)
        with_strips = mask if with_strips is None else with_strips
        strips = _find_strips(components)
        if not strips.any():
            break
        is_paper &= ~ndimage.binary_dilation(strips, EIGHT_CONNECTED, 2)
        if not is_paper.any():
            break
    return with_strips if mask is None else mask


def _select_strokes(
    components: np.ndarray, contrast: np.ndarray, smooth: np.ndarray, is_paper: np.ndarray
) -> Optional[np.ndarray]:
    """Returns the components that are no specks, as a mask, bool [h, w], or None if no digit stands out.

    Args:
      components: int [h, w], the number of the component over the threshold, 0 at other pixels.
      contrast, smooth: float32 [h, w], the contrast, and the contrast with less noise.
      is_paper: bool [h, w], False at strips.
    """
    over = components > 0
    level = smooth[over].mean()
    outline = np.concatenate([over[0], over[-1], over[:, 0], over[:, -1]])
    if level < MIN_CONTRAST or outline.mean() > 0.5 or level < MIN_SNR * contrast[is_paper & ~over].std():
        return None
    ink = np.bincount(components.ravel(), weights=(smooth * over).ravel())
    is_kept = ink >= MIN_COMPONENT_INK * ink.max()
    # If the small components hold most of the ink, the image shows noise.
    return is_kept[components] & over if ink[is_kept].sum() >= ink.sum() / 2 else None


def _find_strips(components: np.ndarray) -> np.ndarray:
    """Finds what is dark at the edges of the picture and no digit: the edge of a page, a table, a shadow.

    Args:
      components: int [h, w], the number of the component over the threshold, 0 at other pixels.

    Returns:
      bool [h, w], True at components that touch an edge, and either run along it or are less than half as high as the
      highest component that touches none.
    """
    boxes = ndimage.find_objects(components)
    touched = [
        [axis for axis, part in enumerate(box) if part.start == 0 or part.stop == components.shape[axis]]
        for box in boxes
    ]
    lengths = [[part.stop - part.start for part in box] for box in boxes]
    inner_height = max((height for (height, _), axes in zip(lengths, touched) if not axes), default=0)
    strips = []
    for number, (length, axes) in enumerate(zip(lengths, touched), start=1):
        shares = np.divide(length, components.shape)
        is_along = any(shares[axis] <= MAX_STRIP_DEPTH and shares[1 - axis] >= MIN_STRIP_LENGTH for axis in axes)
        if is_along or (axes and length[0] < inner_height / 2):
            strips.append(number)
    return np.isin(components, strips)
