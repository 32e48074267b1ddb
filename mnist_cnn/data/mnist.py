"""MNIST loading: finds the four files, downloads those that are missing, verifies and splits them."""

import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Tuple, Union

import numpy as np

from mnist_cnn.data.idx import IDX_FILES, read_idx
from mnist_cnn.errors import DataNotFound, IncompleteData, InputError

VALIDATION_SIZE = 5000  # the first images of the training set, as in TensorFlow 1.x's read_data_sets


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels: `images` uint8 [N, 28, 28, 1] in 0..255, `labels` uint8 [N] in 0..9."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Any) -> Tuple[np.ndarray, np.ndarray]:
        """Returns one batch, normalised and one-hot.

        Args:
          indices: an index into the images: integers [n] or a slice.

        Returns:
          images: float32 [n, 28, 28, 1] in [0, 1].
          labels: float32 [n, 10], one-hot.
        """
        images = np.divide(self.images[indices], 255, dtype=np.float32)
        return images, np.eye(10, dtype=np.float32)[self.labels[indices]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits, and the `name` under which results record the dataset."""

    name: str
    train: Split
    validation: Split
    test: Split

    def digest(self) -> str:
        """Returns the hexadecimal SHA-256 of the pixels and labels of all three splits."""
        sha256 = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for array in (split.images, split.labels):
                sha256.update(np.ascontiguousarray(array).data)
        return sha256.hexdigest()


def load_mnist(
    data_dir: Union[str, Path, None] = None, mirror: Optional[str] = None, validation_size: int = VALIDATION_SIZE
) -> Dataset:
    """Loads MNIST from its four IDX files, which are verified by SHA-256. Downloads missing files.

    Args:
      data_dir: the folder of the files, compressed (.gz) or not; default: see `get_data_dir`.
      mirror: the URL from which missing files are downloaded; default: $MNIST_MIRROR, otherwise the public mirrors.
      validation_size: how many of the 60,000 training images, from the first, form the validation split.

    Returns:
      A Dataset, by default of 55,000, 5,000 and 10,000 images.

    Raises:
      DataNotFound: none of the files can be found or downloaded.
      IncompleteData: only some of the files can.
      InputError: a checksum does not match, or validation_size is out of its range.
    """
    if not 0 <= validation_size <= 60000:
        raise InputError(f"validation_size is {validation_size}: it must be in 0..60000")
    paths = find_mnist(data_dir, mirror)
    images, labels, test_images, test_labels = map(_read_file, paths, IDX_FILES)
    images, test_images = images[..., np.newaxis], test_images[..., np.newaxis]
    return Dataset(
        "mnist",
        train=Split(images[validation_size:], labels[validation_size:]),
        validation=Split(images[:validation_size], labels[:validation_size]),
        test=Split(test_images, test_labels),
    )


def find_mnist(data_dir: Union[str, Path, None] = None, mirror: Optional[str] = None) -> List[Path]:
    """Returns the paths of MNIST's four files, in the order of IDX_FILES. Downloads missing files.

    Arguments and errors are those of `load_mnist`. Files that are found are verified later, by `load_mnist`.
    """
    folder = get_data_dir(data_dir)
    missing = [name for name in IDX_FILES if _find_file(folder, name) is None]
    if missing:
        from mnist_cnn.data.download import download_files  # lazy import: only when files are missing

        try:
            download_files(folder, missing, mirror)
        except DataNotFound as error:
            if len(missing) == len(IDX_FILES):
                raise DataNotFound(f"MNIST is not in {folder} and {error}") from error
            raise IncompleteData(f"{' and '.join(missing)} missing in {folder} and {error}") from error
    return [path for path in (_find_file(folder, name) for name in IDX_FILES) if path]


def get_data_dir(data_dir: Union[str, Path, None] = None) -> Path:
    """Returns the folder of MNIST's files: `data_dir`, $MNIST_DATA_DIR, or a per-user cache folder, in this order.

    Raises:
      InputError: the folder begins with the home directory of a user, as in `~/mnist`, and that is unknown.
      DataNotFound: no folder is named, and this user has neither a home directory nor a private temporary folder.
    """
    named, cache = data_dir or os.environ.get("MNIST_DATA_DIR"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(named or Path(cache or "~/.cache", "mnist_cnn"))
    try:
        return folder.expanduser()
    except (KeyError, RuntimeError) as error:  # KeyError on Python 3.7
        if not (named or cache):
            return _private_temporary_dir()
        raise InputError(f"{folder}: this home directory is unknown; name the folder by its full path") from error


def _private_temporary_dir() -> Path:
    """Creates, if necessary, and returns the cache folder of a user without a home directory.

    Other users can write to the system's temporary directory, so a folder or link of theirs must not be used.
    """
    no_home = "this user has no home directory"
    if os.name == "nt":
        raise DataNotFound(no_home)
    try:
        path = Path(tempfile.gettempdir(), f"mnist_cnn-{os.getuid()}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
    except OSError as error:
        raise DataNotFound(f"{no_home}, and a temporary folder cannot be made: {error}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise DataNotFound(f"{no_home}, and {path} is not a private folder of this user")
    return path


def _find_file(folder: Path, name: str) -> Optional[Path]:
    for path in (folder / name, folder / (name + ".gz")):
        if path.is_file():
            return path
    return None


def _read_file(path: Path, name: str) -> np.ndarray:
    try:
        with open(str(path), "rb") as file:
            return read_idx(file, str(path), name)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{error}; delete or replace it") from error
