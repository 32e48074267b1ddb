"""Data of one's own in the formats IDX and npz; what all formats have in common. CSV is read by csv_data.py.

Images are 28 x 28, white on black as MNIST's. The classes are those of the labels, which must be 0, 1, 2 and so on
without gaps.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np

from mnist_cnn.data.idx import IDX_FILES, read_idx
from mnist_cnn.data.mnist import (
    DIGITS,
    MAX_CLASSES,
    VALIDATION_SIZE,
    Dataset,
    find_files,
    get_data_dir,
    list_files,
    read_file,
    split_arrays,
)
from mnist_cnn.data.npz import read_npz
from mnist_cnn.errors import DataNotFound, IncompleteData, InputError

FORMATS = "csv", "folder", "idx", "npz"  # names of Datasets
MIN_TRAINING_IMAGES = 12  # of which one is for validation

logger = logging.getLogger(__name__)

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BALANCED = "0123456789" + _UPPER + "abdefghnqrt"
# The classes of EMNIST's six datasets (Cohen et al. 2017, arXiv:1702.05373, and its mapping files).
EMNIST_CLASSES = {
    "balanced": _BALANCED,
    "bymerge": _BALANCED,
    "byclass": "0123456789" + _UPPER + _UPPER.lower(),
    "digits": "0123456789",
    "letters": _UPPER,
    "mnist": "0123456789",
}


def load_idx(data_dir: Union[str, Path], validation_size: Optional[int] = None) -> Dataset:
    """Loads four IDX files of 28 x 28 images, such as those of Fashion-MNIST or of one of EMNIST's datasets.

    EMNIST's files, named emnist-*, hold their images transposed: these are transposed back, and a warning is logged.

    Args:
      data_dir: the folder of the files, with the names of MNIST's or EMNIST's, compressed (.gz) or not.
      validation_size: how many of the training images, from the first, form the validation split; default: a
        twelfth, at most 5,000, which is MNIST's proportion, chosen by their pixels (see `make_dataset`).

    Returns:
      A Dataset of the name "idx".

    Raises:
      DataNotFound: none of the files is there.
      IncompleteData: only some of them are.
      InputError: a file is damaged, images are not 28 x 28, the folder begins with the home directory of an unknown
        user, or the data are invalid (see `make_dataset`).
    """
    folder = get_data_dir(Path(data_dir))
    found, emnist = find_files(folder), None
    if not found:
        emnist, found = _find_emnist(folder)
    missing = [name for name in IDX_FILES if name not in found]
    if missing:
        error = DataNotFound if len(missing) == len(IDX_FILES) else IncompleteData
        raise error(f"{' and '.join(missing)} missing in {folder}{list_files(folder)}")
    images, labels, test_images, test_labels = [
        read_file(found[name], read_idx, len(IDX_FILES[name].shape)) for name in IDX_FILES
    ]
    if emnist:
        logger.warning("EMNIST's files hold their images transposed: they are transposed back")
        images, test_images = images.swapaxes(1, 2), test_images.swapaxes(1, 2)
    return make_dataset(
        "idx", folder, images, labels, test_images, test_labels, validation_size, EMNIST_CLASSES.get(emnist or "")
    )


def _find_emnist(folder: Path) -> Tuple[Optional[str], Dict[str, Path]]:
    """Returns the name of the EMNIST dataset in a folder and its files, by the names of MNIST's."""
    paths = sorted(folder.glob("emnist-*-ubyte*"))
    names = {path.name.split("-")[1] for path in paths}
    if len(names) > 1:
        raise InputError(f"{folder} contains several of EMNIST's datasets ({', '.join(sorted(names))}): keep one")
    found = {}
    for name in IDX_FILES:
        kind, _, rest = name.partition("-")
        suffix = f"-{'train' if kind == 'train' else 'test'}-{rest}"
        path = next((path for path in paths if path.name.endswith((suffix, f"{suffix}.gz"))), None)
        if path:
            found[name] = path
    return (names.pop() if names else None), found


def load_npz(data_dir: Union[str, Path], validation_size: Optional[int] = None) -> Dataset:
    """Loads an .npz file as Keras has it for MNIST, with the arrays x_train, y_train, x_test and y_test.

    Args:
      data_dir: the file, or a folder in which it is the only .npz file.
      validation_size: as for `load_idx`.

    Returns:
      A Dataset of the name "npz".

    Raises:
      DataNotFound: there is no such file.
      InputError: it is damaged, its arrays are not images [N, 28, 28] and labels [N] or [N, 1], all of whole numbers,
        its path begins with the home directory of an unknown user, or the data are invalid (see `make_dataset`).
    """
    path = find_only_file(get_data_dir(Path(data_dir)), ".npz")
    images, labels, test_images, test_labels = read_npz(path, ["x_train", "y_train", "x_test", "y_test"], "ui").values()
    # Keras has the labels of CIFAR as [N, 1].
    labels, test_labels = (array[:, 0] if array.shape[1:] == (1,) else array for array in (labels, test_labels))
    return make_dataset("npz", path, images, labels, test_images, test_labels, validation_size)


def find_only_file(path: Path, *suffixes: str) -> Path:
    """Returns the path of a file, or that of the only file in a folder with one of the suffixes.

    Raises:
      DataNotFound: there is no such file.
      InputError: there are several.
    """
    if path.is_file():
        return path
    found = sorted(file for file in path.glob("*") if file.name.endswith(suffixes) and file.is_file())
    if not path.exists():
        raise DataNotFound(f"{path} does not exist")
    if not found:
        raise DataNotFound(f"{path}: there is no {' or '.join(suffixes)} file")
    if len(found) > 1:
        raise InputError(
            f"{path} has several {suffixes[0]} files, such as {found[0].name} and {found[1].name}: name one"
        )
    return found[0]


def make_dataset(
    name: str,
    path: Path,
    images: np.ndarray,
    labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    validation_size: Optional[int] = None,
    class_names: Optional[Any] = None,
) -> Dataset:
    """Checks data of one's own, and makes a Dataset of them.

    Labels that begin at 1 are shifted. Logs a warning about that, about images that occur under two labels, and about
    test images that are training images too.

    Args:
      name: the Dataset's name.
      path: the folder or file of the data.
      images, test_images: uint8 [N, 28, 28] in 0..255, or integers of these values.
      labels, test_labels: whole numbers [N].
      validation_size: how many of the training images, from the first, form the validation split; default: a
        twelfth, at most 5,000, those that come first in the order of `order_by_pixels`.
      class_names: of the labels in ascending order; default: the labels as text.

    Raises:
      InputError: images are not 28 x 28 or not in 0..255; there is not one label for each image; there are fewer than
        12 training images or no test image; labels have gaps, or there are fewer than 2 or more than MAX_CLASSES
        classes; or no class has two training images, of which one could be for validation.
    """
    checked: List[np.ndarray] = []
    for kind, pixels, classes, minimum in (
        ("training", images, labels, MIN_TRAINING_IMAGES),
        ("test", test_images, test_labels, 1),
    ):
        if pixels.ndim != 3 or pixels.shape[1:] != (28, 28):
            size = " x ".join(map(str, pixels.shape[1:])) or "no"
            raise InputError(f"{path}: the {kind} images have {size} pixels, not 28 x 28")
        if classes.ndim != 1:
            raise InputError(f"{path}: the {kind} labels have the shape {list(classes.shape)}, not one dimension")
        if len(classes) != len(pixels):
            raise InputError(f"{path}: there are {len(pixels):,} {kind} images, but {len(classes):,} labels")
        if len(pixels) < minimum:
            raise InputError(f"{path}: there are {len(pixels)} {kind} images, fewer than {minimum}")
        if pixels.dtype != np.uint8 and not 0 <= pixels.min() <= pixels.max() <= 255:
            wrong = pixels.min() if pixels.min() < 0 else pixels.max()
            raise InputError(f"{path}: a pixel is {wrong}: pixels must be in 0..255")
        checked += [np.ascontiguousarray(pixels, np.uint8), classes]
    images, labels, test_images, test_labels = checked
    labels, test_labels, found = _number_labels(path, labels, test_labels)
    names = tuple(class_names or (DIGITS if found == list(range(10)) else map(str, found)))
    if len(names) != len(found):
        raise InputError(f"{path}: there are {len(found)} classes, but {len(names)} names")
    _warn_about_repetitions(path, images, labels, test_images, test_labels)
    if validation_size is None:
        # Not the first images: in a file that is sorted by label, these are all images of the first classes.
        order, _ = order_by_pixels(images, labels)
        chosen = order[: min(len(images) // MIN_TRAINING_IMAGES, VALIDATION_SIZE)]
        if not len(chosen):
            raise InputError(f"{path}: no class has two training images, of which one could be for validation")
        images, labels = (
            np.concatenate([array[np.sort(chosen)], np.delete(array, chosen, 0)]) for array in (images, labels)
        )
        validation_size = len(chosen)
    folder = os.path.abspath(str(path))
    return split_arrays(name, images, labels, test_images, test_labels, validation_size, folder, names)


def order_by_pixels(images: np.ndarray, labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Orders images by a hash of their pixels, so that a split does not depend on their order in a file.

    Args:
      images: uint8 [N, 28, 28].
      labels: whole numbers [N].

    Returns:
      indices: those of the images, without the last image of each class: it is for training.
      fractions: float64, the hashes of these images, mapped to [0, 1), which ascend.
    """
    digests = (hashlib.sha256(image.tobytes()).digest() for image in images)
    fractions = np.array([int.from_bytes(digest[:4], "big") / 2**32 for digest in digests])
    descending = np.argsort(fractions, kind="stable")[::-1]
    _, last = np.unique(labels[descending], return_index=True)
    order = np.delete(descending, last)[::-1]
    return order, fractions[order]


def _number_labels(path: Path, labels: np.ndarray, test_labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray, List[int]]:
    """Returns the labels as uint8 from 0 on, and the labels that occur in the training set."""
    found = [int(label) for label in np.unique(labels)]
    if found[0] == 1:
        logger.warning("the labels in %s begin at 1: they are counted from 0", path)
    first = 1 if found[0] == 1 else 0
    expected = list(range(first, first + len(found)))
    if found != expected:
        gap = next(number for number, label in zip(expected, found) if number != label)
        other = found[0] if found[0] < 0 else found[-1]
        raise InputError(f"{path}: there is no training image of the label {gap}, but one of {other}")
    if not 2 <= len(found) <= MAX_CLASSES:
        raise InputError(f"{path}: the number of classes is {len(found)}: it must be in 2..{MAX_CLASSES}")
    unknown = np.setdiff1d(test_labels, found)
    if len(unknown):
        raise InputError(f"{path}: a test image has the label {unknown[0]}, which no training image has")
    return (labels - found[0]).astype(np.uint8), (test_labels - found[0]).astype(np.uint8), found


def _warn_about_repetitions(
    path: Path, images: np.ndarray, labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray
) -> None:
    hashes = [hash(image.tobytes()) for split in (images, test_images) for image in split]
    _, numbers = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.stack([numbers, np.concatenate([labels, test_labels])]), axis=1)
    contradictory = int((np.bincount(pairs[0]) > 1).sum())
    if contradictory:
        logger.warning("%s: number of images under two labels or more: %s", path, f"{contradictory:,}")
    repeated = int(np.isin(numbers[len(images) :], numbers[: len(images)]).sum())
    if repeated:
        logger.warning("%s: number of test images that are training images too: %s", path, f"{repeated:,}")
