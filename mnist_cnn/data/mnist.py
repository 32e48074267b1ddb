"""The digits: find the files, verify them, split them, and say which images make up step k."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnist_cnn.data.idx import IDX_FILES, read_idx
from mnist_cnn.errors import DataNotFound, InputError

VALIDATION_SIZE = 5000  # the first images of the training set, as in TensorFlow 1.x's read_data_sets


@dataclass(frozen=True, eq=False)
class Split:
    """Some digits: `images` uint8 [N, 28, 28, 1] in 0..255, `labels` uint8 [N] in 0..9."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def batch(self, indices):
        """What the network is fed: images float32 [n, 28, 28, 1] in [0, 1], one-hot labels float32 [n, 10].

        `indices` is anything that indexes an array: integers [n] or a slice.
        """
        images = np.divide(self.images[indices], 255, dtype=np.float32)
        return images, np.eye(10, dtype=np.float32)[self.labels[indices]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits, and the `name` by which results tell them from other data."""

    name: str
    train: Split
    validation: Split
    test: Split

    def digest(self):
        """SHA-256, in hexadecimal, over the pixels and labels of all three splits in turn."""
        sha256 = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            sha256.update(np.ascontiguousarray(split.images))
            sha256.update(np.ascontiguousarray(split.labels))
        return sha256.hexdigest()


def load_mnist(data_dir=None, mirror=None, validation_size=VALIDATION_SIZE):
    """MNIST from its four IDX files, each packed (.gz) or not and verified by SHA-256 before it is used.

    They are in `get_data_dir(data_dir)`; what is missing there is downloaded into it, from `mirror`,
    a URL, else from `$MNIST_MIRROR`, else from the public mirrors.
    Returns a Dataset, by default of 55,000, 5,000 and 10,000 digits.
    Raises DataNotFound where none of the four is to be had, InputError where some are there and
    others not to be had, or where one is not MNIST's to the last bit.
    """
    if not 0 <= validation_size <= 60000:
        raise InputError(f"validation_size is {validation_size}: it must be in 0..60000")
    paths = find_mnist(data_dir, mirror)
    images, labels, test_images, test_labels = map(_read, paths, IDX_FILES)
    images, test_images = images[..., np.newaxis], test_images[..., np.newaxis]
    return Dataset(
        "mnist",
        train=Split(images[validation_size:], labels[validation_size:]),
        validation=Split(images[:validation_size], labels[:validation_size]),
        test=Split(test_images, test_labels),
    )


def find_mnist(data_dir=None, mirror=None):
    """The paths of MNIST's four files, in the order of IDX_FILES; what is missing is downloaded.

    Arguments and errors are those of `load_mnist`; what is found here is verified only there.
    """
    folder = get_data_dir(data_dir)
    missing = [name for name in IDX_FILES if _find(folder, name) is None]
    if missing:
        from mnist_cnn.data.download import download  # which few need

        try:
            download(folder, missing, mirror)
        except DataNotFound as error:
            nothing = len(missing) == len(IDX_FILES)
            raise (DataNotFound if nothing else InputError)(
                f"{'MNIST is not in' if nothing else ' and '.join(missing) + ' missing in'} {folder}, and {error}. "
                "Name a folder that has MNIST's four files with --data-dir, or train on a sample with --dataset sample"
            ) from error
    return [_find(folder, name) for name in IDX_FILES]


def get_data_dir(data_dir=None):
    """The Path of MNIST's files: `data_dir`, else `$MNIST_DATA_DIR`, else a per-user cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mnist_cnn"
    return Path(data_dir or os.environ.get("MNIST_DATA_DIR") or cache).expanduser()


def _find(folder, name):
    for path in (folder / name, folder / (name + ".gz")):
        if path.is_file():
            return path
    return None


def _read(path, name):
    try:
        with open(str(path), "rb") as file:
            return read_idx(file, str(path), name)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
