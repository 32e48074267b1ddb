"""Convert any image of a digit, or of a number, to MNIST format. Needs the extra `images`.

MNIST's digits are bilevel scans. They were scaled to fit 20x20 pixels with their aspect ratio kept, which gave them
grey levels, and placed in 28x28 pixels with their centre of mass in the middle (http://yann.lecun.com/exdb/mnist/).
`prepare` does the same with any image:

1. Resize the image to WORKING_SIDE, so that the following steps do not depend on its resolution.
2. Separate the strokes from the background (see `segmentation`).
3. If they are small in the image, crop the image around them and repeat from step 1.
4. Give the strokes a width that MNIST has.
5. Scale the digit to fit 20x20 pixels and centre it in 28x28 pixels by its mass.

`prepare_number` divides the strokes into digits after step 3.

The constants were chosen on digits drawn in fonts, on MNIST's validation images, shown as photos and as scans of 8x8
pixels, and the stroke width on pictures of handwriting by 21 strangers (see docs/prediction.md).
"""

from typing import Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from mnist_cnn.errors import NoDigitFound
from mnist_cnn.inference.image_io import ImageSource, get_display_name, read_image
from mnist_cnn.inference.segmentation import EIGHT_CONNECTED, find_strokes

try:
    from PIL import Image, ImageOps
    from scipy import ndimage
except ImportError as error:
    raise ImportError("preparing images needs SciPy: pip install '.[images]'") from error

WORKING_SIDE = 160  # pixels, longer side; 8 for each pixel of the 20x20 box if the digit fills the image
MAX_WORKING_SIDE = 640  # for a number, whose digits should have the same resolution
ZOOM_MARGIN = 0.35  # of the digit's longer side, kept around it when the image is cropped
ZOOM_THRESHOLD = 0.57  # crop only if the longer side shrinks to this fraction or less
MIN_STROKE_WIDTH = 0.1  # of the digit's longer side; thinner strokes are widened
EDGE_LEVELS = 0.25, 0.9  # of the ink; the levels between these become the grey levels of a stroke's edge
MIN_DIGIT_HEIGHT = 0.5  # of the height of all strokes; lower components are parts of a digit
MAX_JOINT = 0.15  # of the height of two components; if their strokes are closer, they may be one broken digit
MIN_NUMBER_ASPECT = 1.2  # width by height of strokes that may be a number
MAX_OVERLAP = 0.4  # of the narrower component's width; components that overlap more are one digit

Box = Tuple[int, int, int, int]  # left, top, right, bottom, in pixels; right and bottom are exclusive


class PreparedDigit(NamedTuple):
    """One digit of a number."""

    image: np.ndarray  # float32 [28, 28] in [0, 1], white on black
    box: Box  # in the image


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
    ink, mask, _ = _locate(source)
    return _convert(ink, mask)


def resize(source: ImageSource) -> np.ndarray:
    """Scales a whole picture to 28 x 28 grey pixels, with black beside it if it is not square.

    Args:
      source: as for `prepare`.

    Returns:
      float32 [28, 28] in [0, 1].

    Raises:
      InputError: the image cannot be read.
    """
    grey = read_image(source).convert("L")
    if max(grey.size) > 50 * min(grey.size):  # Pillow before 10 cannot scale a side to less than half a pixel
        grey = grey.resize([max(length, max(grey.size) // 28) for length in grey.size], Image.Resampling.BOX)
    return np.asarray(ImageOps.pad(grey, (28, 28), Image.Resampling.BOX), np.float32) / 255


PREPARATIONS = {"digit": prepare, "resize": resize}


def prepare_whole(source: ImageSource) -> PreparedDigit:
    """Returns a whole picture as `resize` does, and its box."""
    rgb = read_image(source)
    width, height = (int(round(length * rgb.info["scale"])) for length in rgb.size)
    return PreparedDigit(resize(rgb), (0, 0, width, height))


def prepare_number(source: ImageSource, divide: bool = True) -> Tuple[List[PreparedDigit], Dict[int, PreparedDigit]]:
    """Converts the digits of a number to MNIST format.

    Args:
      source: as for `prepare`; the digits stand side by side.
      divide: whether the strokes are divided into digits; otherwise they are one.

    Returns:
      digits: from left to right.
      joined: by index, that digit and the next one as one digit, where both may be the parts of one broken digit.

    Raises:
      NoDigitFound, InputError: as for `prepare`.
    """
    ink, mask, to_image = _locate(source)
    groups = _group_components(mask) if divide else [mask]

    def convert(group: np.ndarray) -> PreparedDigit:
        return PreparedDigit(_convert(ink, group), to_image(_find_bounding_box(group)))

    joined = {
        index: convert(left | right)
        for index, (left, right) in enumerate(zip(groups, groups[1:]))
        if _may_be_one_digit(left, right)
    }
    return [convert(group) for group in groups], joined


def _locate(source: ImageSource) -> Tuple[np.ndarray, np.ndarray, Callable[[Box], Box]]:
    """Finds the strokes in an image, and zooms in on them.

    Returns:
      ink, mask: as of `find_strokes`.
      to_image: converts a box in the mask to a box in the image.
    """
    rgb = read_image(source)
    original_scale = rgb.info["scale"]
    side, origin = WORKING_SIDE, (0, 0)
    while True:
        width, height = _scale_size(rgb.size, side)
        resampling = Image.Resampling.BICUBIC if width > rgb.width else Image.Resampling.BOX
        found = find_strokes(np.asarray(rgb.resize((width, height), resampling), np.float32) / 255)
        if found is None and side > WORKING_SIDE:
            break  # with what was found at the lower resolution
        if found is None:
            raise NoDigitFound(f"{get_display_name(source)}: no digit found")
        ink, mask = found
        left, top, right, bottom = _find_bounding_box(mask)
        margin = ZOOM_MARGIN * max(right - left, bottom - top)
        scale = max(rgb.size) / max(width, height)  # of the longer side: the shorter one has few pixels, rounded
        crop = (
            max(0, int((left - margin) * scale)),
            max(0, int((top - margin) * scale)),
            min(rgb.width, int(np.ceil((right + margin) * scale))),
            min(rgb.height, int(np.ceil((bottom + margin) * scale))),
        )
        aspect = (right - left) / (bottom - top)
        if max(crop[2] - crop[0], crop[3] - crop[1]) <= ZOOM_THRESHOLD * max(rgb.size):
            rgb = rgb.crop(crop)
            origin = origin[0] + crop[0], origin[1] + crop[1]
        elif side == WORKING_SIDE and aspect > MIN_NUMBER_ASPECT:
            side = int(min(WORKING_SIDE * aspect, MAX_WORKING_SIDE))
        else:
            break

    def to_image(box: Box) -> Box:
        left, top, right, bottom = (
            int(round((corner * scale + offset) * original_scale)) for corner, offset in zip(box, origin * 2)
        )
        return left, top, right, bottom

    return ink, mask, to_image


def _group_components(mask: np.ndarray) -> List[np.ndarray]:
    """Divides strokes into digits.

    Returns:
      Masks like `mask`, from left to right.
    """
    components, _ = ndimage.label(mask, EIGHT_CONNECTED)
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in ndimage.find_objects(components)]
    height = max(bottom for *_, bottom in boxes) - min(top for _, top, _, _ in boxes)
    is_part = [bottom - top < MIN_DIGIT_HEIGHT * height for _, top, _, bottom in boxes]
    groups: List[Tuple[Box, List[int]]] = []  # a box, and the numbers of the components in it
    for number in sorted(range(len(boxes)), key=lambda number: (is_part[number], boxes[number])):
        box, numbers = boxes[number], [number + 1]
        if groups:
            nearest = min(groups, key=lambda group: _measure_gap(box, group[0]))
            if is_part[number] or _overlap(box, nearest[0]):
                groups.remove(nearest)
                box, numbers = _unite(box, nearest[0]), nearest[1] + numbers
        groups.append((box, numbers))
    return [np.isin(components, numbers) for _, numbers in sorted(groups)]


def _measure_gap(a: Box, b: Box) -> int:
    """Returns the horizontal and vertical distance of two boxes, added."""
    return sum(max(0, a[axis] - b[axis + 2], b[axis] - a[axis + 2]) for axis in (0, 1))


def _overlap(a: Box, b: Box) -> bool:
    """Returns whether two boxes stand above each other rather than side by side."""
    return min(a[2], b[2]) - max(a[0], b[0]) > MAX_OVERLAP * min(a[2] - a[0], b[2] - b[0])


def _unite(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _may_be_one_digit(left: np.ndarray, right: np.ndarray) -> bool:
    """Returns whether two neighbours may be the parts of one broken digit: they are close, and no wider than high."""
    box = _find_bounding_box(left | right)
    height = box[3] - box[1]
    if box[2] - box[0] > height:
        return False
    return ndimage.distance_transform_edt(~left)[right].min() <= MAX_JOINT * height


def _convert(ink: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Converts one digit to MNIST format, float32 [28, 28] in [0, 1].

    Args:
      ink: float32 [h, w], about 1 in strokes and 0 in the background.
      mask: bool [h, w], True at the digit's pixels.
    """
    left, top, right, bottom = _find_bounding_box(mask)
    size = max(right - left, bottom - top)
    # Across a stroke of width w, the mean distance from the background is about w / 4.
    digit = np.pad(mask[top:bottom, left:right], 1)
    width = max(4 * ndimage.distance_transform_edt(digit)[digit].mean() - 2, 1)
    if width < MIN_STROKE_WIDTH * size:
        # The digit becomes larger by as much as its strokes become wider.
        margin = (MIN_STROKE_WIDTH * size - width) / (2 * (1 - MIN_STROKE_WIDTH))
        digit = np.pad(digit, int(margin) + 1)
        strokes = np.clip(margin + 1 - ndimage.distance_transform_edt(~digit), 0, 1)
    else:
        low, high = EDGE_LEVELS
        strokes = np.clip((ink - low) / (high - low), 0, 1) * ndimage.binary_dilation(mask, EIGHT_CONNECTED, 2)
    return _center_by_mass(_fit_to_20x20(strokes.astype(np.float32)))


def _fit_to_20x20(strokes: np.ndarray) -> np.ndarray:
    """Crops the digit and scales it to fit 20x20 pixels with its aspect ratio kept.

    Args:
      strokes: float32 [h, w] in [0, 1].

    Returns:
      box: float32 [h, w]; the larger of h and w is 20.
    """
    left, top, right, bottom = _find_bounding_box(strokes > 0.5)
    cropped = Image.fromarray(strokes[top:bottom, left:right])
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
